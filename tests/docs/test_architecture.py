"""`docs/architecture.md` names the modules, locks and threads that exist, and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.test_imports import MAY_IMPORT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CORE = ROOT / "pollect-core" / "src" / "pollect"
SOURCES = "\n".join(
    file.read_text(encoding="utf-8")
    for part in ("pollect-core", "pollect-writers")
    for file in (ROOT / part / "src").rglob("*.py")
)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE))))
def test_a_module_that_the_page_names_exists(module: str) -> None:
    assert (CORE / module).is_file() or (ROOT / module).is_file()


@pytest.mark.parametrize("lock", sorted(set(re.findall(r"^\| `(\w+\.\w+)` \|", PAGE, re.M))))
def test_a_lock_that_the_page_names_is_one_of_its_class(lock: str) -> None:
    owner, _, attribute = lock.partition(".")
    body = SOURCES.partition(f"class {owner}(")[2] or SOURCES.partition(f"class {owner}:")[2]
    assert re.search(rf"self\.{attribute} = threading\.(Lock|RLock|Condition)\(", body), lock


NAMED_THREAD = re.compile(
    r"(?:name=|name = |name: str = |InBackground\(.*, |_started\(.*, )f?\"(pollect-[a-z-]*)"
)
#: The names of threads in the code, without what is filled in.
THREADS = {name.rstrip("-") for name in NAMED_THREAD.findall(SOURCES)} - {"pollect"} | {
    f"pollect-{name}" for name in re.findall(r"Workers\(\"(\w+)\"", SOURCES)
}


@pytest.mark.parametrize("thread", sorted(THREADS))
def test_a_thread_is_on_the_page(thread: str) -> None:
    assert f"`{thread}" in PAGE


@pytest.mark.parametrize("thread", sorted(set(re.findall(r"`(pollect-[a-z]+)", PAGE))))
def test_a_thread_that_the_page_names_is_started(thread: str) -> None:
    assert thread in THREADS or any(name.startswith(f"{thread}-") for name in THREADS)


def test_every_package_of_the_core_is_on_the_page() -> None:
    packages = {folder.name for folder in CORE.iterdir() if (folder / "__init__.py").is_file()}
    assert {name for name in packages if f"`{name}`" not in PAGE} <= {"builtin"}


LOCK = re.compile(r"threading\.(Lock|RLock|Condition)\(")


def locks() -> Iterator[str]:
    """Yield every class of the daemon that has a lock, but for those of one module."""
    for part in ("engine", "delivery", "daemon", "fleet"):
        for file in sorted((CORE / part).rglob("*.py")):
            body = ast.parse(file.read_text(encoding="utf-8")).body
            for found in (each for each in body if isinstance(each, ast.ClassDef)):
                if not found.name.startswith("_") and LOCK.search(ast.unparse(found)):
                    yield found.name


@pytest.mark.parametrize("owner", sorted({*locks()}))
def test_a_class_with_a_lock_is_on_the_page(owner: str) -> None:
    assert re.search(rf"`{owner}[`.]", PAGE.partition("## Which locks there are")[2])


def test_the_table_of_packages_is_in_the_order_of_imports() -> None:
    table = PAGE.partition("## Who may import whom")[2].partition("\n\nA family")[0]
    rows = re.findall(r"^\| (`.*?) \| .* \|$", table, re.MULTILINE)
    level = {
        name: number for number, row in enumerate(rows) for name in re.findall(r"`(\w+)`", row)
    }
    parts = {name for name in MAY_IMPORT if name.islower() and not name.startswith("_")}
    assert parts - level.keys() == {"builtin"}
    wrong = {
        (part, other)
        for part in parts & level.keys()
        for other in MAY_IMPORT[part] - {"builtin"}
        if level[other] >= level[part]
    }
    assert wrong == {("discovery", "legacy")}
