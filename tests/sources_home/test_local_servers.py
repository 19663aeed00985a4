"""What `pollect init` suggests for a home server."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pollect.discovery.registry import Registry
from pollect.testing import HttpResponse, HttpServer, Misbehaviour, build_source, serve_http
from pollect_sources_home import local_servers
from tests.simulators.evcc import STATE, Evcc
from tests.simulators.plex import PlexServer

OPENHAB = {"/rest/": {"version": "8", "runtimeInfo": {"version": "5.0.1"}}, "/rest/items": []}
PORTS = ("EVCC_PORT", "OPENHAB_PORT", "PLEX_PORT")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, HttpServer]]:
    """Serve evcc, openHAB and Plex at ports of their own, where the suggestions look."""
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(server)
            for name, server in zip(
                PORTS, (Evcc(STATE), serve_http(dict(OPENHAB)), PlexServer()), strict=True
            )
        }
        for name, server in found.items():
            monkeypatch.setattr(local_servers, name, server.port)
        yield found


def found_types() -> list[tuple[str, str]]:
    return [(item.section["type"], item.caveat) for item in local_servers.suggest_servers()]


def test_what_runs_on_this_host_is_suggested(servers: dict[str, HttpServer]) -> None:
    assert found_types() == [("Evcc", ""), ("Openhab", ""), ("Plex", "")]
    registry = Registry()
    for item in local_servers.suggest_servers():
        build_source(item.section, registry.source_type(item.section["type"]))


def test_what_wants_a_token_is_suggested_as_a_comment(servers: dict[str, HttpServer]) -> None:
    plex = servers["PLEX_PORT"]
    assert isinstance(plex, PlexServer)
    plex.pages["/identity"] = '<MediaContainer machineIdentifier="m"/>'
    well = plex.routes
    assert callable(well)
    plex.routes = lambda request: (
        well(request) if request.path == "/identity" else HttpResponse("", status=401)
    )
    servers["OPENHAB_PORT"].routes = {**OPENHAB, "/rest/items": HttpResponse("", status=401)}
    wants = "the server wants a `token`"
    assert found_types() == [("Evcc", ""), ("Openhab", wants), ("Plex", wants)]


@pytest.mark.parametrize(
    "answer", ["hello", [1], "[" * 100_000, HttpResponse("", 500), Misbehaviour.HANG_UP,
               Misbehaviour.RUBBISH, Misbehaviour.SILENT],
    ids=["text", "a list", "deep", "500", "reset", "no HTTP", "hung"],
)  # fmt: skip
def test_other_programs_at_these_ports_are_no_reason(
    servers: dict[str, HttpServer], monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(local_servers, "TIMEOUT_SECONDS", 0.1)
    for server in servers.values():
        server.routes = {"*": answer}
    assert found_types() == []


def test_a_host_without_any_of_them_gets_nothing(servers: dict[str, HttpServer]) -> None:
    for server in servers.values():
        server.stop()
    assert found_types() == []
