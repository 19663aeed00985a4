"""Build sources and writers as the daemon does, without a config file or an engine."""

import atexit
import functools
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pollect.config.sections import convert_section
from pollect.model import SourceId
from pollect.plugin import Clock, Roots, Source, SourceContext, Writer, WriterContext
from pollect.testing.clock import FakeClock

if TYPE_CHECKING:
    from pollect.discovery.registry import Registry


def build_source(
    section: Mapping[str, Any],
    source_type: type[Source[Any]] | None = None,
    *,
    collection: str = "pollect",
    interval: float = 10.0,
    clock: Clock | None = None,
    roots: Roots | None = None,
    config_dir: Path | None = None,
    state_dir: Path | None = None,
) -> Source[Any]:
    """Return a source made from its section of a config; not opened yet.

    Without `source_type` the class is that of the section's `type`, among the installed plugins
    and, for a type with a dot, the modules that can be imported. Time stands still (`FakeClock`)
    unless a `clock` is given; without `state_dir` there is a new one for each source. Raises
    `InvalidConfig` with every mistake in the section.
    """
    if source_type is None:
        source_type = installed_types().source_type(section["type"])
    section = {"type": source_type.__name__.removesuffix("Source"), **section}
    config = convert_section(source_type.config_type, section)
    context = SourceContext(
        id=SourceId(collection, config.type, config.name),
        interval=interval,
        clock=clock or FakeClock(),
        config_dir=config_dir or Path.cwd(),
        state_dir=state_dir or _scratch_folder(),
        roots=roots or Roots(),
    )
    return source_type(config, context)


def build_writer(
    section: Mapping[str, Any],
    writer_type: type[Writer[Any]] | None = None,
    *,
    clock: Clock | None = None,
    config_dir: Path | None = None,
    state_dir: Path | None = None,
) -> Writer[Any]:
    """Return a writer made from its section of a config; not opened yet. See `build_source`."""
    if writer_type is None:
        writer_type = installed_types().writer_type(section["type"])
    section = {"type": writer_type.__name__.removesuffix("Writer"), **section}
    config = convert_section(writer_type.config_type, section)
    context = WriterContext(
        name=config.type,
        clock=clock or FakeClock(),
        config_dir=config_dir or Path.cwd(),
        state_dir=state_dir or _scratch_folder(),
    )
    return writer_type(config, context)


def _scratch_folder() -> Path:
    """Return a folder for one plugin; it does not exist yet and goes with the process."""
    return _scratch_root() / str(next(_numbers))


_numbers = itertools.count(1)


@functools.cache
def _scratch_root() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="pollect-state-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def installed_types() -> "Registry":
    """Return the types of all installed plugins, looked up once."""
    # Every run of pytest imports this module, wherever pollect-core is installed.
    from pollect.discovery.registry import Registry

    return Registry()
