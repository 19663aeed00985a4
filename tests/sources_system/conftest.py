from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.sources_system.node_exporter import NodeExporter, run_node_exporter

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


@pytest.fixture(autouse=True)
def real_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let psutil forget the fake `/proc` that a source of the last test set."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")


@pytest.fixture(scope="session")
def node_exporter() -> Iterator[NodeExporter]:
    with run_node_exporter() as exporter:
        yield exporter


@pytest.fixture(scope="session")
def recorded_proc() -> Path:
    """A frozen `/proc` of a real machine."""
    folder = RECORDINGS / "procfs"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    return folder


@pytest.fixture(scope="session")
def recorded_smart() -> Path:
    """Outputs of smartctl from real drives."""
    folder = RECORDINGS / "smartctl"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    return folder
