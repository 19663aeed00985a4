"""Every hook of pollect.

A plugin is a module (or a class instance) with functions of these names, marked `@hookimpl`, and
named by an entry point of the group `pollect.plugins`. An implementation may take any subset of the
arguments, by name. Registration hooks run once at start-up. Observers get whole results and
batches, never single samples. Each plugin's observers are called in a thread of its own, in order:
one that raises is logged once, one that is slow misses calls, and neither stops collection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pollect.hooks import hookspec
from pollect.model import Batch, ProbeResult, SourceId
from pollect.plugin import Roots, Source, SourceSpec, Suggestion, Writer, WriterSpec

if TYPE_CHECKING:
    import click

BatchFilter: TypeAlias = Callable[[Batch], Batch | None]


@hookspec
def pollect_sources() -> Iterable[SourceSpec | type[Source[Any]]]:  # type: ignore[empty-body]
    """Return the sources of this plugin.

    Called once by every command that needs to know types. Return specs, which cost no import, or
    the classes themselves, whose type is then the class name without `Source`.
    """


@hookspec
def pollect_writers() -> Iterable[WriterSpec | type[Writer[Any]]]:  # type: ignore[empty-body]
    """Return the writers of this plugin, as `pollect_sources` does."""


@hookspec
def pollect_commands() -> "Iterable[click.Command]":  # type: ignore[empty-body]
    """Return commands for `pollect`'s command line.

    Called when the command line is read; a command's own imports belong inside its function. A
    name that pollect or an earlier plugin uses is refused with a warning.
    """


@hookspec
def pollect_suggestions(roots: Roots) -> Iterable[Suggestion]:  # type: ignore[empty-body]
    """Return sections of a config that suit this host, in the order a reader wants them.

    Called by `pollect init` only. Look at the host (below `roots`, and at ports of the loopback
    interface) for at most a second; change nothing, start nothing. Return nothing for what is not
    there. Imports belong inside the function. A section whose type lacks an extra or a program is
    written as a comment that says so.
    """


@hookspec
def pollect_config_loaded(config: Mapping[str, Any]) -> None:
    """Look at the whole config after it was found valid, before anything starts.

    `config` is the plain data of the file with every `${...}` filled in; change nothing in it.
    Raise `ConfigError` to refuse it.
    """


@hookspec
def pollect_batch_filters(config: Mapping[str, Any]) -> Iterable[BatchFilter]:  # type: ignore[empty-body]
    """Return functions that every batch passes through before the writers get it.

    Called once at start. A filter returns the batch, a changed one, or None to drop it; filters run
    in the order of registration, in the thread of the probe, so they must be quick and safe to call
    from several threads. One that raises is logged and skipped for that batch.
    """


@hookspec
def pollect_started(sources: Sequence[SourceId]) -> None:
    """Take note that the engine runs; every source was scheduled, none need have answered yet."""


@hookspec
def pollect_probe_finished(result: ProbeResult) -> None:
    """Look at the result of one probe, whatever its outcome."""


@hookspec
def pollect_batch_lost(writer: str, batch: Batch, error: BaseException | None) -> None:
    """Take note that `writer` gave up on a batch: refused, too old, or pushed out of its buffer."""


@hookspec
def pollect_self_samples() -> Iterable[Batch]:  # type: ignore[empty-body]
    """Return metrics of pollect itself as of now.

    Called at every scrape of a Prometheus endpoint, and at the global tick for remote writers that
    take self metrics. A scrape waits for it no longer than a quarter of a second; an answer that
    comes later is shown at the next one. The id `SourceId("pollect", "source")` with a metric `up`
    becomes `pollect_source_up`.
    """


@hookspec
def pollect_stopped() -> None:
    """Take note that the engine stopped: sources closed, buffers drained, writers closed."""
