"""Write `docs/reference.md` from the code: `python -m tests.tools.reference`."""

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pollect import errors, hookspecs
from pollect.config.describe import OptionRow, describe_options
from pollect.config.options import ExecutorOptions, RootOptions
from pollect.config.probes import ProbeOptions
from pollect.config.targets import TargetsOptions
from pollect.plugin import SourceConfig, WriterConfig

FILE = Path(__file__).parents[2] / "docs" / "reference.md"

HEAD = """\
# Reference

Made from the code by `make docs`; a test compares the two. `pollect plugins show TYPE` prints the
options and values of one source or writer, and [plugins.md](plugins.md) explains how to write one.

## Hooks

"""


def build_reference() -> str:
    """Return the text of the reference."""
    prose = inspect.getdoc(hookspecs) or ""
    parts = [
        HEAD + _after_title(prose),
        *(_hook(hook) for hook in hooks()),
        "## Errors\n\n" + _as_code(_drawing(errors)),
        *(_error(error) for error in error_classes()),
        "## Options\n\n"
        "Of the file, beside `executors`, `writers`, `writer` and [`probes`](targets.md):",
        _table(describe_options(RootOptions)),
        "Of an executor, beside `sources`, `writers` and `writer`:",
        _table(describe_options(ExecutorOptions)),
        "Of every source:",
        _table(describe_options(SourceConfig)),
        "Of `targets`, which repeats a source for each target of an [inventory](targets.md):",
        _table(describe_options(TargetsOptions)),
        "Of a module in `probes`, beside the options of its source:",
        _table(describe_options(ProbeOptions)),
        "Of every writer:",
        _table(describe_options(WriterConfig)),
    ]
    return "\n\n".join(parts) + "\n"


def hooks() -> list[object]:
    """Return the functions that specify hooks, in the order of the file."""
    return [found for name, found in vars(hookspecs).items() if name.startswith("pollect_")]


def error_classes() -> list[type[errors.PollectError]]:
    """Return all errors, in the order of the file."""
    return [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.PollectError)
    ]


def signature_of(hook: object) -> str:
    """Return a hook as its implementation is written."""
    assert inspect.isfunction(hook)
    parameters = ", ".join(map(_parameter, inspect.signature(hook).parameters.values()))
    return f"{hook.__name__}({parameters})"


def _parameter(parameter: inspect.Parameter) -> str:
    return parameter.name


def _hook(hook: object) -> str:
    assert inspect.isfunction(hook)
    annotations = inspect.signature(hook)
    facts = [
        f"`{parameter.name}`: {_type_name(parameter.annotation)}"
        for parameter in annotations.parameters.values()
    ]
    if annotations.return_annotation is not None:
        facts.append(f"returns: {_type_name(annotations.return_annotation)}")
    listed = "".join(f"- {fact}\n" for fact in facts)
    text = inspect.getdoc(hook) or ""
    return f"### `{signature_of(hook)}`\n\n{text}" + (f"\n\n{listed.rstrip()}" if facts else "")


def _type_name(annotation: object) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return f"`{annotation.__name__}`"
    text = re.sub(
        r"\b(?:collections\.abc|typing|pollect\.model|pollect\.plugin\.\w+|click\.core)\.",
        "",
        str(annotation),
    )
    return f"`{text}`"


def _error(error: type[errors.PollectError]) -> str:
    return f"### `{error.__name__}`\n\n{inspect.getdoc(error)}"


def _drawing(module: object) -> str:
    """Return the tree that the text of a module draws."""
    text = inspect.getdoc(module) or ""
    lines = text.partition("::\n\n")[2].splitlines()
    tree = []
    for line in lines:
        if line and not line.startswith("    "):
            break
        tree.append(line.removeprefix("    "))
    return "\n".join(tree).strip()


def _as_code(text: str) -> str:
    return f"```text\n{text}\n```"


def _after_title(prose: str) -> str:
    return prose.partition("\n\n")[2]


def _table(rows: Iterable[OptionRow]) -> str:
    return "\n".join(_table_lines(rows))


def _table_lines(rows: Iterable[OptionRow]) -> Iterator[str]:
    yield "| option | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        default = "required" if row.required else f"`{row.default}`" if row.default else ""
        yield (
            f"| `{row.name}` | {row.type} {row.range}".rstrip()
            + f" | {default} | {row.description} |"
        )


if __name__ == "__main__":
    FILE.write_text(build_reference(), encoding="utf-8")
