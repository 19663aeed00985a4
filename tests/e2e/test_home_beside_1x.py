"""1.x and pollect before the same home servers: every series of 1.x is ours, with its value."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pollect.testing import serve_http
from pollect.testing.waiting import wait_until
from tests.e2e.beside_1x import needs_1x, old_pollect, values_of
from tests.e2e.command import LIMIT_SECONDS, start
from tests.simulators import sma
from tests.simulators.daemons import free_port
from tests.simulators.evcc import STATE, Evcc
from tests.simulators.plex import PlexServer

pytestmark = [pytest.mark.integration, needs_1x("requests", "pymodbus", "websocket")]

CONFIG = """\
tickTime: 1
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: net
    sources:
      - {{type: Plex, url: "{plex}", labels: {{site: home}}}}
      - {{type: Openhab, name: my.house, url: "{openhab}"}}
      - {{type: Evcc, host: "{evcc}"}}
      - {{type: AiOnTheEdge, name: water-meter, host: 127.0.0.1, port: {camera}}}
      - {{type: SmaPvModbus, host: 127.0.0.1, port: {inverter}, labels: {{roof: south}}}}
"""

ITEMS = [
    {"name": "Kitchen", "label": "Küche Temp [%.1f °C]", "type": "Number:Temperature",
     "state": "20.4 °C", "groupNames": ["Temperature", "GF"]},
    {"name": "Light", "label": "Amy's Lights", "type": "Switch", "state": "ON", "groupNames": []},
    {"name": "Heating", "label": "Heating", "type": "Switch", "state": "OFF", "groupNames": ["GF"]},
    {"name": "Chart", "label": "Chart", "type": "Number", "state": "NULL", "groupNames": []},
    {"name": "NoLabel", "type": "Number", "state": "5", "groupNames": []},
]  # fmt: skip
READING = {"main": {"value": "521.171", "pre": "521.17", "rate": "0.02378", "error": "no error"}}
#: 1.x reports no value for a loadpoint without a title, and the same series twice for two equal
#: ones: these have different titles.
LOADPOINTS = [
    loadpoint | {"title": title}
    for loadpoint, title in zip(STATE["loadpoints"], ("Carport", "Street", "Pump"), strict=True)
]

#: Nine of Plex, three of openHAB, four of the camera, nine of the inverter, and of evcc six of
#: the site, three of one and two of each other loadpoint.
SERIES_OF_1X = 9 + 3 + 4 + 9 + 6 + 3 + 2 * 2
#: 1.x counts shows from 1.
SHOWS = 'net_Plex_lib_shows{site="home"}'


@pytest.fixture
def places() -> Iterator[dict[str, str | int]]:
    """Start every server, and give what the config says of it."""
    with ExitStack() as stack:
        openhab = stack.enter_context(serve_http({"/rest/items": ITEMS}))
        camera = stack.enter_context(serve_http({"/json": READING}))
        yield {
            "plex": stack.enter_context(PlexServer()).url,
            "openhab": openhab.url,
            "evcc": stack.enter_context(Evcc({**STATE, "loadpoints": LOADPOINTS})).address,
            "camera": camera.port,
            "inverter": stack.enter_context(sma.Inverter(sma.by_day())).port,
        }


def collect(port: int, count: int) -> dict[str, float]:
    """Scrape until there are so many series of the collection."""
    found: dict[str, float] = {}

    def complete() -> bool:
        nonlocal found
        with suppress(OSError):
            values = values_of(port)
            found = {name: values[name] for name in values if name.startswith("net_")}
        return len(found) >= count

    with suppress(AssertionError):
        wait_until(complete, limit_seconds=LIMIT_SECONDS)
    return found


def test_every_series_of_1x_exists_with_its_value(
    tmp_path: Path, places: dict[str, str | int]
) -> None:
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, **places))
    new_file.write_text(CONFIG.format(port=new_port, **places))
    with old_pollect(old_file):
        expected = collect(old_port, SERIES_OF_1X)
    assert len(expected) == SERIES_OF_1X, sorted(expected)
    with start("run", "-c", new_file, folder=tmp_path):
        found = collect(new_port, SERIES_OF_1X + 4)  # what evcc has moved has its old names, too
    assert expected.keys() <= found.keys(), sorted(expected.keys() - found.keys())
    expected[SHOWS] -= 1
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert {name.partition("{")[0] for name in found.keys() - expected.keys()} == {
        "net_Evcc_gridPower",
        "net_Evcc_batteryPower",
        "net_Evcc_batterySoc",
        "net_Evcc_batteryCapacity",
    }
