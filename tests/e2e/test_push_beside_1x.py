"""1.x and pollect beside the same meter, charger and ESPHome device, which speak by themselves."""

import base64
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.testing import wait_until
from tests.e2e.beside_1x import ENOUGH_SECONDS, needs_1x, old_pollect, values_of
from tests.e2e.command import start
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port
from tests.simulators.esphome.device import (
    NoiseTerminator,
    SimulatedDevice,
    device_replies,
    messages,
)
from tests.simulators.pmcc import CHARGING, Charger
from tests.simulators.sma_energy_meter import PORT_OF_1X, Sender, large_datagram

pytestmark = [pytest.mark.integration, needs_1x("aioesphomeapi", "websocket")]

KEY = bytes(range(32))

CONFIG = """\
tickTime: 1
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: net
    sources:
      - {{type: SmaEnergyMeter, hostIp: {meter}, labels: {{site: home}}}}
      - {{type: Pmcc, host: "{charger}"}}
      - {{type: EspHome, name: porch, host: {host}, port: {esp}, psk: "{psk}"}}
"""

#: 58 of the meter, six of the charger, three of the ESPHome device.
SERIES_OF_1X = 59 + 6 + 3


@pytest.fixture
def meter() -> Iterator[str]:
    """A meter that sends to an address of its own: on loopback 1.x hears unicast alone."""
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    with Sender(PORT_OF_1X, group=host) as sender:
        sender.keep_sending([large_datagram()], pause=0.1)
        yield host


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Charger]:
    with Charger(Authority(tmp_path).self_signed(tmp_path), CHARGING) as charger:
        yield charger


@pytest.fixture
def esp_home() -> Iterator[NoiseTerminator]:
    """A device with sensors alone: 1.x gives up at any entity without a device class."""
    entities = [
        messages.ListEntitiesSensorResponse(name="Porch", key=1, device_class="temperature"),
        messages.ListEntitiesSensorResponse(name="Lamp", key=2, device_class="power"),
        messages.ListEntitiesSensorResponse(name="Strange", key=3),
    ]
    states = [messages.SensorStateResponse(key=key, state=key + 0.3) for key in (1, 2, 3)]
    with SimulatedDevice(device_replies(entities, states)) as device:
        with NoiseTerminator(device.host, device.port, KEY) as terminator:
            yield terminator


def values_until(port: int, count: int) -> dict[str, float]:
    """Scrape until there are so many series of the collection."""
    latest: dict[str, float] = {}

    def complete() -> bool:
        with contextlib.suppress(OSError):
            latest.clear()
            found = values_of(port).items()
            latest.update({key: value for key, value in found if key.startswith("net_")})
        return len(latest) >= count

    with contextlib.suppress(AssertionError):
        wait_until(complete, limit_seconds=ENOUGH_SECONDS)
    return latest


def test_every_series_of_1x_exists_with_equal_names_labels_and_values(
    tmp_path: Path, meter: str, charger: Charger, esp_home: NoiseTerminator
) -> None:
    places = {
        "meter": meter,
        "charger": charger.address,
        "host": esp_home.host,
        "esp": esp_home.port,
        "psk": base64.b64encode(KEY).decode(),
    }
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, **places))
    new_file.write_text(CONFIG.format(port=new_port, **places))

    with old_pollect(old_file):
        expected = values_until(old_port, SERIES_OF_1X)
    assert len(expected) == SERIES_OF_1X, sorted(expected)
    with start("run", "-c", new_file, folder=tmp_path):
        found = values_until(new_port, SERIES_OF_1X)
    assert {key: found.get(key) for key in expected} == pytest.approx(expected)
