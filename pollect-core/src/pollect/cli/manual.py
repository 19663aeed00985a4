"""The manual of one type, made from its class: `pollect plugins show`."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from pollect.cli.table import format_table, terminal_width
from pollect.config.describe import OptionRow, describe_options
from pollect.discovery.entry import Entry
from pollect.discovery.requirements import State, find_program, judge
from pollect.plugin import Source, SourceConfig, Writer, WriterConfig

INDENT = "  "
#: What stands for a value of a type in an example, by how its description begins.
_SAMPLES = (
    ("true or false", "true"),
    ("whole number", "1"),
    ("number", "1"),
    ("secret text", "${PASSWORD}"),
    ("mapping", "{}"),
    ("list", "[]"),
)


def write_manual(entry: Entry, plugin: type[Source[Any]] | type[Writer[Any]]) -> str:
    """Return all there is to know about a type; the requirements of an extension are unknown."""
    own, common = _options(plugin)
    parts = [
        f"{entry.spec.type}: {entry.kind} of {entry.origin}",
        _prose(plugin),
        _section("Requirements", _requirements(entry)) if entry.installed else "",
        _section("Options", _option_table(own)),
        _section(f"Options of every {entry.kind}", _option_table(common)),
    ]
    if issubclass(plugin, Source):
        parts.append(_section("Targets of an inventory", _targets(plugin)))
        parts.append(_section("Values", _metrics(plugin)))
    parts.append(_section("Example, with what is required", _example(entry, own)))
    return "\n\n".join(part for part in parts if part)


def _section(title: str, text: str) -> str:
    lines = (f"{INDENT}{line}".rstrip() for line in text.splitlines())
    return "\n".join([title, *lines]) if text else ""


def _prose(plugin: type) -> str:
    """Return what the class and its module say about themselves."""
    module = inspect.getdoc(sys.modules[plugin.__module__]) or ""
    own = inspect.cleandoc(plugin.__doc__ or "")
    return "\n\n".join(text for text in (own, module) if text)


def _requirements(entry: Entry) -> str:
    spec = entry.spec
    readiness = judge(entry)
    lines = [f"State: {readiness.state.value}"]
    if readiness.state is not State.READY:
        lines.append(readiness.reason)
    if spec.extra:
        lines.append(f"Packages: {entry.pip_command}")
    for program in spec.needs.programs:
        where = find_program(program.name) or "not found"
        lines.append(f"Program: {program.name} (apt install {program.package}), {where}")
    if spec.platforms:
        lines.append(f"Platforms: {', '.join(spec.platforms)}")
    lines += [f"Needs: {need}" for need in spec.needs.words()]
    if spec.aliases:
        lines.append(f"Other names: {', '.join(spec.aliases)}")
    return "\n".join(lines)


def _options(plugin: type) -> tuple[list[OptionRow], list[OptionRow]]:
    """Return the options a type has of its own, and those that every type of its kind has."""
    config_type: type[msgspec.Struct] = plugin.config_type  # type: ignore[attr-defined]
    rows = describe_options(config_type)
    if config_type in (SourceConfig, WriterConfig):
        return [], rows
    return [row for row in rows if not row.common], [row for row in rows if row.common]


def _targets(plugin: type[Source[Any]]) -> str:
    option, prefix = plugin.target_option, plugin.target_prefix
    if not option:
        return ""
    text = f"A target fills `{option}`: `targets: {{file: targets.json}}` repeats the section."
    return f"{text}\nOne without a scheme gets {prefix} in front." if prefix else text


def _option_table(rows: Iterable[OptionRow]) -> str:
    lines = [
        (
            row.name,
            f"{row.type} {row.range}".strip(),
            "required" if row.required else row.default,
            row.description,
        )
        for row in rows
    ]
    return _table(("NAME", "TYPE", "DEFAULT", "MEANING"), lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that fits the terminal despite the indent it will get."""
    width = terminal_width()
    return format_table(header, rows, width=width and width - len(INDENT)) if rows else ""


def _metrics(plugin: type[Source[Any]]) -> str:
    rows = [
        (
            metric.name or "(the source itself)",
            metric.kind.value,
            metric.unit,
            ", ".join(metric.labels),
            metric.help,
        )
        for metric in plugin.metrics
    ]
    text = _table(("NAME", "KIND", "UNIT", "LABELS", "MEANING"), rows)
    if plugin.dynamic_metrics:
        text += "\nThe device or the config decides on further values."
    return text.strip()


def _example(entry: Entry, own: Sequence[OptionRow]) -> str:
    required = [row for row in own if row.required]
    lines = [f"- type: {entry.spec.type}"]
    lines += [f"{INDENT}{line}" for line in _required_lines(required, "")]
    return "\n".join(lines)


def _required_lines(rows: Sequence[OptionRow], prefix: str) -> Iterator[str]:
    """Yield the required options directly below `prefix`, each with its own required ones."""
    for row in rows:
        name = row.name.removeprefix(prefix)
        if not row.name.startswith(prefix) or "." in name:
            continue
        items = list(_required_lines(rows, f"{row.name}[]."))
        if items:
            yield f"{name}:"
            yield f"{INDENT}- {items[0]}"
            yield from (f"{INDENT}{INDENT}{line}" for line in items[1:])
        else:
            yield f"{name}: {_sample(row)}"


def _sample(row: OptionRow) -> str:
    for beginning, sample in _SAMPLES:
        if row.type.startswith(beginning):
            return sample
    choice = row.type.removeprefix("one of ")
    return choice.partition(",")[0] if choice != row.type else "..."
