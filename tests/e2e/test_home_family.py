"""All home sources at once: from the wheels of the family, before the peers of their contract."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pollect.testing import HttpServer, serve_http
from pollect.testing.waiting import wait_until
from tests.contract.home_family import TYPES, family
from tests.e2e.beside_1x import values_of
from tests.e2e.command import LIMIT_SECONDS, start
from tests.e2e.fresh_environment import FreshEnvironment
from tests.simulators import sma
from tests.simulators.daemons import free_port
from tests.simulators.evcc import STATE, Evcc
from tests.simulators.plex import PlexServer

UP = "pollect_source_up"


def write_config(folder: Path, sections: Sequence[Mapping[str, Any]], port: int) -> Path:
    file = folder / "config.json"
    config = {
        "tickTime": 1,
        "writer": {"type": "Prometheus", "bind": "127.0.0.1", "port": port},
        "executors": [{"collection": "home", "sources": sections}],
    }
    file.write_text(json.dumps(config))
    return file


def wait_for_state(port: int, expected: Mapping[str, float]) -> None:
    """Wait until each type is up (1) or down (0) as expected."""
    latest: dict[str, float] = {}

    def reached() -> bool:
        nonlocal latest
        with suppress(OSError):
            latest = {
                kind: value
                for series, value in values_of(port).items()
                for kind in expected
                if series.startswith(f"{UP}{{") and f'type="{kind}"' in series
            }
        return latest == expected

    with suppress(AssertionError):
        wait_until(reached, limit_seconds=LIMIT_SECONDS)
    assert latest == expected


@pytest.mark.timeout(600)
def test_the_family_from_its_wheels(tmp_path: Path, own_wheels: Path) -> None:
    fresh = FreshEnvironment(tmp_path / "venv", own_wheels)
    fresh.pip("install", "pollect-core", "pollect-sources-home")
    listed = fresh.pollect("plugins", "list", folder=tmp_path).stdout
    assert [kind for kind in TYPES if kind not in listed] == []

    with family() as sections:
        port = free_port()
        file = write_config(tmp_path, sections, port)
        needed = fresh.pollect("deps", file.name, folder=tmp_path).stdout
        [line] = [each for each in needed.splitlines() if each.startswith("pollect-sources-home")]
        assert line.startswith("pollect-sources-home[")
        assert "modbus" in line.partition("]")[0]
        (tmp_path / "requirements.txt").write_text(needed)
        fresh.pip("install", "-r", str(tmp_path / "requirements.txt"))
        checked = fresh.pollect("check", file.name, folder=tmp_path)
        assert checked.returncode == 0, checked.stderr
        run = ("run", "-c", file)
        with start(*run, folder=tmp_path, command=(fresh.command,)) as daemon:
            wait_for_state(port, dict.fromkeys(TYPES, 1.0))
            assert daemon.stop() == 0


def test_every_server_that_goes_away_costs_its_source_alone_and_comes_back(tmp_path: Path) -> None:
    camera = {"main": {"value": "1", "rate": "", "pre": "1", "error": "no error"}}
    item = {"name": "A", "label": "A", "type": "Number", "state": "1"}
    servers: dict[str, HttpServer | sma.Inverter] = {
        "AiOnTheEdge": serve_http({"/json": camera}),
        "Evcc": Evcc(STATE),
        "Openhab": serve_http({"/rest/items": [item]}),
        "Plex": PlexServer(),
        "SmaPvModbus": sma.Inverter(sma.by_day()),
    }
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server)
        places: dict[str, dict[str, Any]] = {
            "AiOnTheEdge": {"host": "127.0.0.1", "port": servers["AiOnTheEdge"].port},
            "Evcc": {"host": servers["Evcc"].address},
            "Openhab": {"url": f"http://{servers['Openhab'].address}"},
            "Plex": {"url": f"http://{servers['Plex'].address}"},
            "SmaPvModbus": {"host": "127.0.0.1", "port": servers["SmaPvModbus"].port},
        }
        port = free_port()
        file = write_config(tmp_path, [{"type": kind, **places[kind]} for kind in servers], port)
        up = dict.fromkeys(servers, 1.0)
        with start("run", "-c", file, folder=tmp_path) as daemon:
            wait_for_state(port, up)
            servers["Plex"].stop()
            wait_for_state(port, {**up, "Plex": 0.0})
            for server in servers.values():
                server.stop()
            wait_for_state(port, dict.fromkeys(servers, 0.0))
            for server in servers.values():
                server.start()
            wait_for_state(port, up)
            assert daemon.stop() == 0
            for kind in servers:
                lines = [
                    line
                    for line in daemon.output.splitlines()
                    # On a busy machine a probe may last longer than a tick.
                    if f"home/{kind}" in line and "this tick is skipped" not in line
                ]
                assert len(lines) == 2, f"one line as it goes, one as it is back: {lines}"
