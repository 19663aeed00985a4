"""Backends that the tests of several writers share; each test uses series names of its own."""

import itertools
from collections.abc import Iterator

import pytest

from pollect.api import SourceId
from tests.writers import servers

_numbers = itertools.count(1)


@pytest.fixture
def source() -> SourceId:
    """A source that no other test uses, so that tests may share a server."""
    return SourceId("pollect", "Test", f"own{next(_numbers)}")


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Influx]:
    with servers.Influx(tmp_path_factory.mktemp("influx")).running() as server:
        yield server


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Prometheus]:
    with servers.prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def victoria_metrics(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[servers.VictoriaMetrics]:
    with servers.victoria_metrics(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@pytest.fixture(scope="session")
def carbon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Carbon]:
    with servers.carbon(tmp_path_factory.mktemp("carbon")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def rotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Rotel]:
    with servers.rotel(tmp_path_factory.mktemp("rotel")) as server:
        yield server
