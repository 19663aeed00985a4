"""What the types of the options allow and what cannot work all the same.

Everything here is a warning: `run` mentions it and goes on, `check` and `--strict` refuse it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pollect.config.config import ExecutorSection
from pollect.config.document import join_path
from pollect.config.problems import Problems
from pollect.errors import ConfigError
from pollect.plugin import MetricFilter, Source, SourceConfig
from pollect.support.names import label_name, metric_name

#: More threads than this are rather the end of a process than a help to it.
MOST_THREADS = 1000
#: No source answers within less: only starting a thread takes about as long.
SHORTEST_SECONDS = 0.001
#: Whoever waits longer never notices that a device hangs.
LONGEST_SECONDS = 86_400.0


def check_threads(problems: Problems, path: str, threads: int) -> None:
    """Warn about more threads than a process can have."""
    if threads > MOST_THREADS:
        problem = f"expected {MOST_THREADS} or fewer, got {threads}"
        hint = "a thread probes one source at a time; 5 to 50 suit most configs"
        problems.warn(path, ConfigError(problem, hint=hint))


def check_source(
    problems: Problems, path: str, config: SourceConfig, source_type: type[Source[Any]]
) -> None:
    """Warn about times in which no source answers, and about names that the source never has."""
    for name, seconds in (("timeout", config.timeout), ("tickTime", config.tick_time)):
        if not isinstance(seconds, int | float):
            continue  # not given, or an extension that uses the word for something else
        if seconds < SHORTEST_SECONDS:
            problem = f"{seconds:g} s is too short for any probe"
            problems.warn(join_path(path, name), ConfigError(problem, hint="it is in seconds"))
        elif name == "timeout" and seconds > LONGEST_SECONDS:
            problem = f"{seconds:g} s is longer than a day"
            problems.warn(join_path(path, name), ConfigError(problem, hint="it is in seconds"))
    if isinstance(config.metrics, MetricFilter) and not source_type.dynamic_metrics:
        _check_filter(problems, join_path(path, "metrics"), config.metrics, source_type)
        _check_changes(problems, join_path(path, "metrics"), config.metrics, source_type)


def check_label_rules(
    problems: Problems,
    path: str,
    config: SourceConfig,
    source_type: type[Source[Any]],
    static: Collection[str],
) -> None:
    """Warn about rules for labels that the source never has, and about names that are taken."""
    if not (config.drop_labels or config.rename_labels):
        return
    own = {label for metric in source_type.metrics for label in metric.labels}
    known = own | set(static)
    judged = not source_type.dynamic_metrics and bool(source_type.metrics)
    for index, name in enumerate(config.drop_labels):
        if judged and name not in known:
            place = join_path(join_path(path, "dropLabels"), index)
            _warn_of_unknown(problems, place, "label", name, known)
    place = join_path(path, "renameLabels")
    for old, new in config.rename_labels.items():
        if judged and old not in known:
            _warn_of_unknown(problems, join_path(place, old), "label", old, known)
        elif not new.strip():
            problem = ConfigError("expected a name, got an empty text", hint="see `dropLabels`")
            problems.warn(join_path(place, old), problem)
    known -= set(config.drop_labels)
    _warn_of_taken(problems, place, config.rename_labels, known, label_name)


def _check_changes(
    problems: Problems, path: str, wanted: MetricFilter, source_type: type[Source[Any]]
) -> None:
    if not (wanted.rename or wanted.scale):
        return
    names = {metric.name or "" for metric in source_type.metrics}
    for option in ("rename", "scale"):
        for name in getattr(wanted, option):
            if names and name not in names:
                place = join_path(join_path(path, option), name)
                _warn_of_unknown(problems, place, "value", name, names)
    _warn_of_taken(problems, join_path(path, "rename"), wanted.rename, names, _spell_value)


def _warn_of_unknown(
    problems: Problems, place: str, what: str, name: str, known: Collection[str]
) -> None:
    from pollect.config.suggestions import suggest

    hint = suggest(name, [each for each in known if each]) if any(known) else ""
    problems.warn(place, ConfigError(f"no {what} of this source is called {name!r}", hint=hint))


def _warn_of_taken(
    problems: Problems,
    path: str,
    renamed: Mapping[str, str],
    names: Collection[str],
    spell: Callable[[str], str],
) -> None:
    """Warn about a new name that something else has, or gets as well, as Prometheus spells it."""
    taken = {spell(name) for name in names if name not in renamed}
    for old, new in renamed.items():
        if spell(new) in taken:
            hint = "give each a name of its own"
            problems.warn(join_path(path, old), ConfigError(f"{new!r} is taken", hint=hint))
        taken.add(spell(new))


def _spell_value(name: str) -> str:
    return metric_name(None, f"_{name}")


def _check_filter(
    problems: Problems, path: str, wanted: MetricFilter, source_type: type[Source[Any]]
) -> None:
    names = [metric.name or "" for metric in source_type.metrics]
    for option in ("include", "exclude"):
        for index, pattern in enumerate(getattr(wanted, option)):
            if names and not any(fnmatchcase(name, pattern) for name in names):
                from pollect.config.suggestions import suggest

                problem = f"no value of this source matches {pattern!r}"
                hint = suggest(pattern, [name for name in names if name])
                place = join_path(join_path(path, option), index)
                problems.warn(place, ConfigError(problem, hint=hint))


def warn_of_twins(problems: Problems, executors: Iterable[ExecutorSection]) -> None:
    """Warn of sources whose values cannot be distinguished."""
    first: dict[tuple[str, str, str | None], str] = {}
    for executor in executors:
        for source in executor.sources:
            config = source.config
            identity = (executor.collection, config.type, config.name)
            if not config.enabled or first.setdefault(identity, source.path) == source.path:
                continue
            problem = f"has the same collection, type and name as {first[identity]}"
            hint = "their values overwrite each other; give one another name"
            problems.warn(source.path, ConfigError(problem, hint=hint))
