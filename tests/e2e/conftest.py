"""What several modules here need once."""

from pathlib import Path

import pytest

from tests.e2e.fresh_environment import build_wheels


@pytest.fixture(scope="session")
def own_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of all distributions of pollect; not to be changed."""
    folder = tmp_path_factory.mktemp("wheels")
    build_wheels(folder)
    return folder
