import sys

import pytest


@pytest.fixture
def fresh_imports(monkeypatch):
    """Undo what a test imports, and what it does to the import path."""
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
