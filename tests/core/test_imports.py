"""The direction of imports: who may know whom. Reads every module, runs none."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "pollect-core" / "src" / "pollect"
FAMILIES = sorted(
    package
    for package in ROOT.glob("pollect-*/src/*")
    if package != CORE and (package / "__init__.py").exists()
)

#: Part of the core -> the parts it may import, besides itself.
MAY_IMPORT = {
    "version": set(),
    "errors": set(),
    "forked": set(),
    "hints": set(),
    "text": set(),
    "model": {"hints", "text"},
    "hooks": set(),
    "needs": set(),
    "units": {"model"},
    "troubles": {"errors"},
    "relay": {"model"},
    "human": {"model", "units"},
    "status": {"model"},
    "plugin": {"errors", "model", "needs", "status", "troubles"},
    "hookspecs": {"hooks", "model", "plugin"},
    "api": {
        *("errors", "hints", "hooks", "human", "model", "needs", "plugin", "status", "units"),
    },
    "support": {
        *("api", "errors", "hints", "model", "needs", "plugin", "relay", "text", "troubles"),
    },
    "config": {"errors", "forked", "model", "plugin", "support", "text"},
    "delivery": {"errors", "model", "plugin", "support"},
    "engine": {
        *(
            "errors",
            "hints",
            "model",
            "plugin",
            "relay",
            "support",
            "text",
            "troubles",
            "version",
        ),
        "delivery",
    },
    "fleet": {"errors", "model", "plugin", "status", "support"},
    # An extension of 1.x is wrapped, and the word for a type is looked up; both only when met.
    "discovery": {"errors", "forked", "hookspecs", "model", "needs", "plugin", "legacy"},
    "legacy": {"errors", "model", "plugin", "config", "discovery"},
    # The core's own plugin; its commands are those of the command line.
    "builtin": {"api", "support", "cli"},
    "testing": {"errors", "model", "plugin", "support", "config", "discovery", "engine"},
    "daemon": {
        *("errors", "hints", "hooks", "human", "model", "plugin", "status", "support"),
        *("text", "troubles", "units"),
        "builtin",
        *("config", "discovery", "delivery", "engine", "fleet"),
    },
    "derived": {
        "errors",
        "hints",
        "human",
        "model",
        "plugin",
        "support",
        "units",
        "engine",
        "fleet",
    },
    "cli": {
        *("api", "errors", "hooks", "hookspecs", "human", "model", "plugin", "status", "support"),
        *("forked", "text", "units"),
        *("builtin", "config", "derived", "discovery", "engine", "daemon", "fleet", "operate"),
    },
    # What surrounds a daemon: units, compose files, checks of the machine.
    "operate": {"errors", "model", "needs", "plugin", "config", "discovery", "daemon"},
    "Pollect": {"cli"},
    "__init__": {"legacy"},
    "__main__": {"cli"},
}
#: What a family may import of the core.
FOR_FAMILIES = ("pollect.api", "pollect.support")


def modules_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a module imports when it runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node = ast.Module(body=node.orelse, type_ignores=[])
        yield node
        yield from _running(node)


def part_of(name: str) -> str:
    """Return the part of the core that `pollect.part.module.name` is in; empty for another."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "pollect" else ""


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", modules_of(CORE), ids=relative)
def test_the_core_keeps_its_directions(file) -> None:
    parts = file.relative_to(CORE).with_suffix("").parts
    allowed = MAY_IMPORT[parts[0]] | {parts[0], "", "__version__", "version"}
    wrong = [
        f"{relative(file)}:{line}: imports {name}"
        for line, name in imports_of(file)
        if part_of(name) not in allowed or name.startswith("pollect_")
    ]
    assert not wrong


@pytest.mark.parametrize(
    "file", [file for family in FAMILIES for file in modules_of(family)], ids=relative
)
def test_a_family_knows_the_api_the_helpers_and_itself(file) -> None:
    own = file.relative_to(ROOT).parts[2]
    wrong = [
        f"{relative(file)}:{line}: imports {name}"
        for line, name in imports_of(file)
        if name.startswith("pollect")
        and not name.startswith((f"{own}.", *(f"{part}." for part in FOR_FAMILIES)))
    ]
    assert not wrong


def modules_by_name() -> dict[str, Path]:
    """Return every module of the project by the name it is imported with."""
    named = {}
    for package in (CORE, *FAMILIES):
        for file in modules_of(package):
            parts = file.relative_to(package.parent).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


def circles_of(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other (Tarjan's strong components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        path.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in path:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = path[path.index(name) :]
            del path[path.index(name) :]
            if len(group) > 1 or name in graph[name]:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even in a function, where Python would allow it."""
    named = modules_by_name()
    assert len(named) > 200
    graph: dict[str, set[str]] = {}
    for name, file in named.items():
        # A name that is imported may be a module, or something in one.
        found = {part for _, full in imports_of(file) for part in (full, full.rpartition(".")[0])}
        graph[name] = found & named.keys() - {name}
    assert circles_of(graph) == []


def test_circles_are_found_however_long() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"f"}}
    assert circles_of(graph) == [["a", "b", "c"], ["f"]]


def test_the_table_names_every_part_of_the_core() -> None:
    parts = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__pycache__", "py"} <= set(MAY_IMPORT) | {""}
    assert len(FAMILIES) >= 5, "they are found by their folders"


def test_imports_are_read_wherever_they_run(tmp_path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "import os.path\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    import pollect.engine\n"
        "else:\n"
        "    import json\n"
        "def open():\n"
        "    from pollect.engine import guard\n"
    )
    names = [name for _, name in imports_of(file)]
    assert names == ["os.path", "typing.TYPE_CHECKING", "json", "pollect.engine.guard"]
    assert part_of("pollect.engine.guard") == "engine"
    assert part_of("pollect_writers.mqtt") == ""
