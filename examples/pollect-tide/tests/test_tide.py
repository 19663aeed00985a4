from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from pollect_tide.tide import LEVEL, READINGS, TideSource, parse_status

from pollect.api import AuthenticationFailed, BadResponse
from pollect.testing import HttpResponse, Running, SourceCase, build_source, serve_http


@contextmanager
def gauge() -> Iterator[Mapping[str, Any]]:
    with serve_http({"/status": {"level": 2.5, "readings": 17}}) as server:
        yield {"host": server.address}


CASE = SourceCase(
    section={"type": "Tide", "host": "localhost", "token": "hunter2", "timeout": 0.5},
    target=gauge,
    at=lambda host, port: {"host": f"{host}:{port}"},
)


def test_contract(source_promise: Callable[[SourceCase], None]) -> None:
    """Runs once for every promise of a source; see `pollect.testing`."""
    source_promise(CASE)


def test_probe_reports_level_and_readings() -> None:
    with gauge() as options, Running(build_source(options, TideSource)) as source:
        assert source.probe() == [LEVEL.sample(2.5), READINGS.sample(17)]


def test_a_gauge_that_refuses_the_token_fails_authentication() -> None:
    routes = {"/status": HttpResponse("who are you?", status=401)}
    with serve_http(routes) as server:
        source = build_source({"host": server.address, "token": "wrong"}, TideSource)
        with Running(source) as running, pytest.raises(AuthenticationFailed):
            running.probe()


@pytest.mark.parametrize("status", [{}, [], {"level": "high", "readings": 1}, None])
def test_rubbish_is_a_bad_response(status: Any) -> None:
    with pytest.raises(BadResponse, match="expected level and readings"):
        parse_status(status)
