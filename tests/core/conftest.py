"""What several parts of the core need: imports that are forgotten, and a gate to hang at."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.engine.rig import Gate


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder that Python imports from, and forget what was imported from it."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def fresh_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Undo what a test imports from its folder, and what it does to the import path.

    Libraries stay: half of their modules imported a second time would not fit the other half.
    """
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    # A namespace package reads its parent's path: first look at all, then forget.
    for name in [name for name in set(sys.modules) - set(before) if _is_in(tmp_path, name)]:
        del sys.modules[name]


def _is_in(folder: Path, module_name: str) -> bool:
    module = sys.modules[module_name]
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(str(place).startswith(str(folder)) for place in places)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()
