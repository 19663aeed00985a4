"""`pollect probe`: one look at a source, without a daemon."""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pollect.cli.completion import complete_probe
from pollect.cli.session import Session, complete_files, log_options
from pollect.cli.table import format_table
from pollect.config.config import Config
from pollect.config.document import NOWHERE
from pollect.config.problems import Problems
from pollect.config.root import read_root
from pollect.daemon.build import assemble, find_targets
from pollect.daemon.dry_run import DryRunTypes
from pollect.daemon.loading import extension_paths, load
from pollect.discovery.registry import Registry
from pollect.engine.clock import SystemClock
from pollect.engine.plan import SourcePlan
from pollect.engine.single import SingleSource
from pollect.errors import ConfigError, InvalidConfig, TargetUnavailable, describe
from pollect.human import format_value
from pollect.model import Batch, Outcome, ProbeResult, Sample, SourceId
from pollect.support.names import metric_name
from pollect.text import visible_text
from pollect.units import unit_of

#: The collection of a source that stands in no config.
COLLECTION = "pollect"
#: Pause before the second probe of a source that had nothing to say in the first.
SECOND_PROBE_SECONDS = 1.0
#: Seconds a source that does not return gets beyond its own deadline.
GRACE_SECONDS = 0.5

#: Where the source of the command line stands in the config made for it.
SECTION = "executors[0].sources[0]"


@click.command()
@click.argument(
    "words", nargs=-1, metavar="TYPE [KEY=VALUE]... | [SOURCE]", shell_complete=complete_probe
)
@click.option(
    "-c",
    "--config",
    "config_name",
    metavar="FILE",
    shell_complete=complete_files,
    help="Probe sources of this config.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Probe a second time after this pause and show that: for rates, and for devices that "
    "send values on their own. Without it there is a second probe after 1 s only if the first "
    "returned nothing.",
)
@click.option(
    "--now",
    is_flag=True,
    help="Make the running pollect probe SOURCE out of its turn, instead of probing it here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@log_options
@click.pass_obj
def probe(
    session: Session,
    words: Sequence[str],
    config_name: str | None,
    wait: float | None,
    now: bool,
    as_json: bool,
) -> int:
    """Probe a source once and show its values.

    \b
    pollect probe Http url=http://localhost/
    pollect probe -c config.yml           every source of a config
    pollect probe --now home/Plex         by the pollect that runs
    pollect probe -c config.yml Http      by type, name, or collection/type/name

    The exit code is 1 if a source fails or a part of what it checks does.
    """
    session.start_command_log()
    if now:
        from pollect.cli.probe_now import probe_now

        return probe_now(words, config_name, as_json=as_json)
    if config_name is None:
        config, registry = _config_of_words(words)
        try:
            chosen = _choose(config, registry, "")
        except InvalidConfig as error:
            raise InvalidConfig([_without_path(problem) for problem in error.problems]) from error
    else:
        loaded = load(config_name, dry_run=True)
        config, registry = loaded.config, loaded.registry
        if len(words) > 1:
            raise click.UsageError(f"with --config one SOURCE at most, got {len(words)}")
        chosen = _choose(config, registry, words[0] if words else "")
    looks = [Look(source, wait) for source in chosen]
    results = [(look.plan, look.result()) for look in looks]
    if as_json:
        print(json.dumps([_as_json(*pair) for pair in results], indent=2, ensure_ascii=False))
    else:
        _print_tables(results)
    return 0 if all(result.outcome.healthy for _, result in results) else 1


class Look:
    """One source being probed in a thread of its own, so that it cannot hang anything else.

    `wait`: seconds until the second probe; None for one after a second, and only if the first
    brought nothing.
    """

    def __init__(self, plan: SourcePlan, wait: float | None) -> None:
        self.plan = plan
        self._always = wait is not None
        self._pause = SECOND_PROBE_SECONDS if wait is None else wait
        self._source = SingleSource(plan, SystemClock())
        self._result: ProbeResult | None = None
        self._limit = plan.source.deadline_seconds()
        self._ends = time.monotonic() + self._limit + GRACE_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"probe {plan.id}", daemon=True)
        self._thread.start()

    def result(self) -> ProbeResult:
        """Return what the source brought, or that it did not return in time."""
        while self._result is None and (left := self._ends - time.monotonic()) > 0:
            self._thread.join(left)
        if self._result is None:
            error = TargetUnavailable(f"did not return within {self._limit:g} seconds")
            outcome = Outcome.TIMED_OUT
            return ProbeResult(self.plan.id, outcome, (), time.time(), self._limit, error)
        return self._result

    def _run(self) -> None:
        result = self._source.probe()
        if self._wants_another(result):
            time.sleep(self._pause)
            result = self._source.probe()
        self._result = result
        self._source.close()
        self._source.stop()

    def _wants_another(self, result: ProbeResult) -> bool:
        """Whether to probe again; if so, the second probe gets its own time."""
        self._ends = time.monotonic() + self._pause + self._limit + GRACE_SECONDS
        return self._always or result.outcome is Outcome.NO_DATA


def _config_of_words(words: Sequence[str]) -> tuple[Config, Registry]:
    """Return a config with one source, written as `TYPE key=value ...`."""
    if not words:
        raise click.UsageError("name a TYPE to probe, or a config with -c FILE")
    type_name, *options = words
    section: dict[str, Any] = {"type": type_name}
    for option in options:
        key, separator, text = option.partition("=")
        if not separator:
            raise click.UsageError(f"expected KEY=VALUE behind the type, got {option!r}")
        _put(section, key.split("."), _value(text))
    executor = {"collection": COLLECTION, "sources": [section]}
    data = {"executors": [executor], "writer": {"type": "DryRun"}}
    place = Path.cwd() / "command line"
    registry = Registry(extension_paths=extension_paths(place))
    problems = Problems()
    document = msgspec.structs.replace(NOWHERE, data=data)
    config = read_root(document, place, DryRunTypes(registry), os.environ, problems)
    if config is None or problems.errors or problems.warnings:
        raise InvalidConfig([_without_path(problem) for problem in problems.all()])
    return config, registry


def _put(section: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a nested option: `metrics.include` and a value."""
    *outer, last = keys
    for key in outer:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise click.UsageError(f"{key!r} is given with and without options inside")
    section[last] = value


def _value(text: str) -> Any:
    """Read a list or mapping as a config file would; all else is text, as `007` should stay."""
    if not text.startswith(("[", "{")):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _without_path(problem: ConfigError) -> ConfigError:
    """Leave out where the section stands: there is only one, on the command line."""
    key = problem.key.removeprefix(f"{SECTION}.").removeprefix(SECTION)
    short = ConfigError(problem.problem, key=key, hint=problem.hint)
    short.__cause__ = problem.__cause__
    return short


def _choose(config: Config, registry: Registry, wanted: str) -> list[SourcePlan]:
    targets = find_targets(config, fetch=True)
    clock, stopping = SystemClock(), threading.Event()
    plan = assemble(config, registry, clock=clock, stopping=stopping, targets=targets)
    if targets is not None:
        targets.finish()
    sources = [source for executor in plan.executors for source in executor.sources]
    chosen = [source for source in sources if not wanted or wanted in _words_for(source.id)]
    if not chosen:
        known = ", ".join(dict.fromkeys(str(source.id) for source in sources))
        raise ConfigError(f"no source {wanted!r}", hint=f"there are: {known}", file=config.file)
    return chosen


def _words_for(source: SourceId) -> set[str]:
    """Return what a user may call a source."""
    name = source.name or ""
    return {source.type, name, f"{source.type}/{name}", str(source)} - {""}


def _print_tables(results: Sequence[tuple[SourcePlan, ProbeResult]]) -> None:
    rows = []
    for plan, result in results:
        rows += [
            (
                metric_name(plan.written_id, sample.metric.name),
                ", ".join(f"{name}={value}" for name, value in labels),
                _quantity(sample),
            )
            for sample, labels in _labelled(plan, result)
        ]
    if rows:
        print(format_table(("NAME", "LABELS", "VALUE"), rows, right="VALUE"))
    for plan, result in results:
        reasons = result.troubles or (describe(result.error),)
        if not result.samples or result.troubles:
            sys.stdout.flush()
            word = result.outcome.value.replace("_", " ")
            for reason in reasons:
                text = f"{plan.id}: {word}{': ' if reason else ''}{reason}"
                print(visible_text(text), file=sys.stderr)


def _quantity(sample: Sample) -> str:
    """Return a value for people, with its unit; JSON has it as it is."""
    unit = unit_of(sample.metric, sample.label_values)
    return format_value(sample.value, sample.metric, unit)


def _as_json(plan: SourcePlan, result: ProbeResult) -> Mapping[str, Any]:
    return {
        "collection": plan.id.collection,
        "type": plan.id.type,
        "name": plan.id.name,
        "outcome": result.outcome.value,
        "error": describe(result.error) or None,
        "troubles": list(result.troubles),
        "duration_seconds": round(result.duration_seconds, 6),
        "samples": [
            {
                "name": metric_name(plan.written_id, sample.metric.name),
                "labels": dict(labels),
                "value": sample.value,
                "unit": sample.metric.unit or None,
                "kind": sample.metric.kind.value,
                "help": sample.metric.help or None,
            }
            for sample, labels in _labelled(plan, result)
        ],
    }


def _labelled(
    plan: SourcePlan, result: ProbeResult
) -> list[tuple[Sample, tuple[tuple[str, str], ...]]]:
    batch = Batch(plan.id, result.samples, result.time, plan.static_labels)
    return [(sample, batch.labels_of(sample)) for sample in batch.samples]
