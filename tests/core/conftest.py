"""What several parts of the core need: a folder on the import path, and a gate to hang at."""

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
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()
