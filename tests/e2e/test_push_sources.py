"""A meter, a charger and an ESPHome device under one daemon: away, back, and away for good."""

import socket
import time
from pathlib import Path

from pollect.testing import wait_until
from tests.e2e.beside_1x import values_of
from tests.e2e.command import PROMPT_SECONDS, start
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port
from tests.simulators.esphome.device import SimulatedDevice, device_replies, messages
from tests.simulators.pmcc import Charger
from tests.simulators.sma_energy_meter import LOOPBACK, Sender, datagram

CONFIG = """\
tickTime: 0.5
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: home
    sources:
      - {{type: SmaEnergyMeter, hostIp: {loopback}, port: {meter}}}
      - {{type: Pmcc, host: "{charger}"}}
      - {{type: EspHome, host: {host}, port: {esp}}}
"""
POWER = 'home_SmaEnergyMeter_wirkleistung_positive{phase="0"}'
SOC = 'home_Pmcc_soc{type="current"}'
PORCH = 'home_EspHome_temperature{name="Porch"}'


def test_sources_start_before_their_devices_and_come_back_with_them(tmp_path: Path) -> None:
    entity = messages.ListEntitiesSensorResponse(name="Porch", key=1, device_class="temperature")
    replies = device_replies([entity], [messages.SensorStateResponse(key=1, state=4.5)])
    esp_home = SimulatedDevice(replies)
    charger = Charger(Authority(tmp_path).self_signed(tmp_path))
    for device in (esp_home, charger):  # for a port of their own
        device.start()
        device.stop()
    port, meter = free_port(), free_port(socket.SOCK_DGRAM)
    places = {"charger": charger.address, "host": esp_home.host, "esp": esp_home.port}
    config = tmp_path / "config.yml"
    config.write_text(CONFIG.format(port=port, meter=meter, loopback=LOOPBACK, **places))

    def shows(*series: str) -> bool:
        return set(series) <= values_of(port).keys()

    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for(f"[home/EspHome] down: {esp_home.address}: Connection refused")
        daemon.wait_for(f"[home/Pmcc] down: {charger.address}: Connection refused")
        daemon.wait_for("[home/SmaEnergyMeter] down: no meter is heard")
        with esp_home, Sender(meter) as sender:
            sender.keep_sending([datagram()])
            wait_until(lambda: shows(POWER, PORCH))
        daemon.wait_for("[home/SmaEnergyMeter] down: no measurements since the last probe")
        wait_until(lambda: not shows(POWER) and not shows(PORCH))
        stopped = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - stopped < PROMPT_SECONDS, "pauses of a minute end at once"
