"""`docs/architecture.md` names modules, locks and threads that exist."""

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("lock", sorted(set(re.findall(r"^\| `(\w+\._\w+)` \|", PAGE, re.M))))
def test_a_lock_that_the_page_names_is_one_of_its_class(lock: str) -> None:
    owner, _, attribute = lock.partition(".")
    body = SOURCES.partition(f"class {owner}(")[2] or SOURCES.partition(f"class {owner}:")[2]
    assert re.search(rf"self\.{attribute} = threading\.(Lock|RLock|Condition)\(", body), lock


@pytest.mark.parametrize("thread", sorted(set(re.findall(r"^\| `(pollect-\w+)` \|", PAGE, re.M))))
def test_a_thread_that_the_page_names_is_started(thread: str) -> None:
    assert f'name="{thread}"' in SOURCES


def test_every_package_of_the_core_is_on_the_page() -> None:
    packages = {folder.name for folder in CORE.iterdir() if (folder / "__init__.py").is_file()}
    assert {name for name in packages if f"`{name}`" not in PAGE} <= {"builtin"}
