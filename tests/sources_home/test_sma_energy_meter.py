"""Meters that multicast on loopback, and between network namespaces."""

import logging
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import BadResponse, Sample, TargetUnavailable
from pollect.testing import FakeClock, Running, build_source, format_samples, no_leaks
from pollect.testing.waiting import wait_until
from pollect_sources_home.sma_energy_meter.payload import Reading, parse_datagram
from pollect_sources_home.sma_energy_meter.source import SmaEnergyMeterSource
from pollect_sources_home.sma_energy_meter.suggestion import suggest_energy_meter
from tests.e2e.command import call, start
from tests.simulators.daemons import free_port
from tests.simulators.sma_energy_meter import (
    DISCOVERY,
    IDLE,
    LOOPBACK,
    Sender,
    as_copy_for_charger,
    as_meter,
    datagram,
)

A, B = 3_000_000_001, 3_000_000_002


class House:
    """A source and a sender on a port of their own; time moves only when the test says so."""

    def __init__(self, **options: Any) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self.clock = FakeClock()
        section = {"hostIp": LOOPBACK, "port": self.port, "timeout": 0.2, **options}
        source = build_source(section, SmaEnergyMeterSource, clock=self.clock)
        assert isinstance(source, SmaEnergyMeterSource)
        self.source = source
        self.running = Running(source)
        self.sender = Sender(self.port)

    def __enter__(self) -> "House":
        self.source.open()
        self.wait_until_it_listens()
        return self

    def __exit__(self, *_: Any) -> None:
        self.running.close()
        self.sender.__exit__(None, None, None)

    def wait_until_it_listens(self) -> None:
        groups = Path("/proc/net/igmp")
        ours = f"{int.from_bytes(socket.inet_aton('239.12.255.254'), sys.byteorder):08X}"
        wait_until(lambda: self.is_bound() and ours in groups.read_text())

    def is_bound(self) -> bool:
        return f":{self.port:04X}" in Path("/proc/net/udp").read_text()

    def send(self, *datagrams: bytes) -> None:
        """Send, and wait until all of it was heard: datagrams keep their order on loopback."""
        heard = self.source._meters._foreign
        expected = heard.total() + 1 + sum(not is_reading(each) for each in datagrams)
        self.sender.send(*datagrams, b"the end")
        wait_until(lambda: heard.total() == expected)

    def probe(self) -> dict[tuple[Any, ...], float]:
        """Return value by name and labels, from a probe ten seconds after the last."""
        self.clock.advance(10)
        return {(s.metric.name, *s.label_values): s.value for s in self.samples()}

    def samples(self) -> list[Sample]:
        return list(self.running.probe())

    def reason(self) -> str:
        self.clock.advance(10)
        with pytest.raises(TargetUnavailable) as raised:
            self.running.probe()
        return str(raised.value)


def is_reading(data: bytes) -> bool:
    try:
        return isinstance(parse_datagram(data), Reading)
    except BadResponse:
        return False


@pytest.fixture
def house() -> Iterator[House]:
    with no_leaks(), House() as house:
        yield house


def power(watts: float, energy: int = 1) -> bytes:
    return datagram({(1, 4): round(watts * 10), (1, 8): energy * 3_600_000})


def test_powers_are_means_since_the_last_probe_and_counters_the_last_value(house: House) -> None:
    house.send(power(100, 5), power(200, 6), power(600, 7))
    assert house.probe() == {
        ("wirkleistung_positive", "0"): 300.0,
        ("wirkleistung_positive_sum", "0"): 7.0,
    }
    house.send(power(50, 8))
    assert house.probe()["wirkleistung_positive", "0"] == 50.0


def test_probes_between_two_datagrams_repeat_the_last_values(house: House) -> None:
    house.send(power(100))
    first = house.samples()
    house.clock.advance(1)
    assert house.samples() == first
    house.clock.advance(2)
    assert "no measurements since the last probe" in house.reason()


@pytest.mark.parametrize("name", ["shm2", "emeter20_01"])
def test_recorded_meters(name: str, recording: Callable[[str], bytes], golden) -> None:
    frame = bytes.fromhex(recording(f"sma_energy_meter/{name}.hex").decode())
    with House(details=True) as house:
        house.send(as_meter(frame, A))
        golden(f"SmaEnergyMeter_{name}.txt", format_samples(house.source, house.samples()))


def test_foreign_and_broken_datagrams_end_nothing(house: House) -> None:
    whole = datagram()
    house.send(b"hello", whole[:100], DISCOVERY, datagram(protocol=0x6065), b"", whole)
    assert house.probe()["wirkleistung_positive", "0"] == 250.0


def test_the_first_of_two_meters_wins_and_a_warning_names_the_other_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        house.send(datagram(serial=A), datagram({(1, 4): 99_990}, serial=B))
        assert house.probe()["wirkleistung_positive", "0"] == 250.0
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(A) in warning.getMessage()
    assert str(B) in warning.getMessage()
    assert "option serial" in warning.getMessage()


def test_a_serial_chooses_the_meter() -> None:
    with House(serial=B) as house:
        house.send(datagram(serial=A), datagram({(1, 4): 40}, serial=B))
        assert house.probe() == {("wirkleistung_positive", "0"): 4.0}


def test_a_list_of_serials_adds_a_label(caplog: pytest.LogCaptureFixture) -> None:
    with House(serial=[A, str(B)]) as house:
        house.send(datagram(serial=A), datagram({(1, 4): 40}, serial=B))
        found = house.probe()
        assert found["wirkleistung_positive", "0", str(A)] == 250.0
        assert found["wirkleistung_positive", "0", str(B)] == 4.0
        house.send(datagram(serial=A))
        assert ("wirkleistung_positive", "0", str(B)) not in house.probe()
    assert caplog.messages == [f"meter {B}: no measurements since the last probe"]


def test_a_list_does_not_wait_for_a_meter_that_never_speaks() -> None:
    with House(serial=[A, B]) as house:
        house.send(datagram(serial=A))
        assert "no measurements" in house.reason()
        house.send(datagram(serial=A))
        assert house.probe()["wirkleistung_positive", "0", str(A)] == 250.0
        assert f"meter {B}: no measurements" in str(house.source.troubles)


def test_the_label_serial_comes_last_on_request() -> None:
    with House(serialLabel=True, details=True) as house:
        house.send(datagram())
        samples = house.samples()
        assert {s.metric.labels for s in samples if s.metric.name != "info"} == {
            ("phase", "serial")
        }


def test_details_are_the_signed_power_and_what_the_meter_is() -> None:
    with House(details=True) as house:
        house.send(datagram({**IDLE, (1, 4): 0, (2, 4): 12_000}))
        found = house.probe()
        assert found["wirkleistung", "0"] == -1200.0
        assert found["info", str(A), "372", "2.13.6.R"] == 1


def test_a_meter_that_sends_two_kinds_is_weighed_once(house: House) -> None:
    plain = power(100)
    copy = as_copy_for_charger(power(900))
    house.send(plain, copy, copy)
    assert house.probe()["wirkleistung_positive", "0"] == 100.0


def test_the_copy_for_a_charger_alone_is_enough(house: House) -> None:
    house.send(as_copy_for_charger(power(900)))
    assert house.probe()["wirkleistung_positive", "0"] == 900.0


def test_a_flood_of_made_up_meters_is_not_remembered(house: House) -> None:
    for start_at in range(1, 2000, 100):
        house.send(*(datagram({}, serial=number) for number in range(start_at, start_at + 100)))
    assert len(house.source._meters.others) <= 16


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([], "no meter is heard"),
        ([DISCOVERY], "only discovery seen and no measurements: add this host"),
        ([b"hello"], "no measurements among"),
        (
            [datagram(serial=A)[:-20], datagram(serial=A)[:-1]],
            "broken datagrams of a meter: expected ",
        ),
        ([datagram(serial=A)], f"none of the meters of `serial` is heard, only {A}"),
    ],
)
def test_the_reason_says_what_is_heard_instead(sent: list[bytes], reason: str) -> None:
    with House(serial=B) as house:
        if sent:
            house.sender.send(*sent)
            wait_until(lambda: house.source._meters._foreign or house.source._meters.others)
        assert reason in house.reason()


def test_after_a_minute_of_silence_the_group_is_joined_again(house: House) -> None:
    house.send(power(100))
    house.probe()
    old = house.source._listener
    house.clock.advance(61)
    wait_until(lambda: not house.is_bound() or house.source._listener is not old)
    assert "no measurements" in house.reason()

    def is_back() -> bool:
        house.clock.advance(1)
        return house.source._listener is not old

    wait_until(is_back)
    house.wait_until_it_listens()
    house.send(power(200))
    assert house.probe()["wirkleistung_positive", "0"] == 200.0


def test_after_a_minute_of_silence_a_meter_that_replaced_it_is_taken(house: House) -> None:
    house.send(power(100))
    house.probe()
    old = house.source._listener
    house.clock.advance(61)

    def is_back() -> bool:
        house.clock.advance(1)
        return house.source._listener is not old

    wait_until(is_back)
    house.wait_until_it_listens()
    house.send(datagram({(1, 4): 40}, serial=B))
    assert house.probe() == {("wirkleistung_positive", "0"): 4.0}


def test_unicast_is_heard_as_well_and_alone_if_asked_for() -> None:
    for multicast in (True, False):
        port = free_port(socket.SOCK_DGRAM)
        section = {"hostIp": LOOPBACK, "port": port, "multicast": multicast}
        with Sender(port, group=LOOPBACK) as sender:
            sender.keep_sending([power(100)])
            with Running(build_source(section, SmaEnergyMeterSource)) as running:
                assert [s.value for s in running.probe()] == [100.0, 1.0]


def test_two_programs_hear_the_same_meter() -> None:
    port = free_port(socket.SOCK_DGRAM)
    section = {"hostIp": LOOPBACK, "port": port}
    with Sender(port) as sender:
        sender.keep_sending([power(100)])
        with Running(build_source(section, SmaEnergyMeterSource)) as one:
            with Running(build_source(section, SmaEnergyMeterSource)) as two:
                assert one.probe()
                assert two.probe()


def test_a_port_that_another_program_keeps_for_itself_is_the_reason() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("", 0))
        section = {"port": selfish.getsockname()[1]}
        with Running(build_source(section, SmaEnergyMeterSource)) as running:
            with pytest.raises(TargetUnavailable, match="cannot listen on UDP port"):
                running.probe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hostIp": "eth0"}, "hostIp: expected an IPv4 address of this host, got 'eth0'"),
        ({"serial": "12a"}, "serial: expected a serial number, got '12a'"),
        ({"serial": [1, -5]}, "serial[1]: expected a serial number, got -5"),
    ],
)
def test_mistakes_in_the_config(options: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match="expected") as raised:
        build_source(options, SmaEnergyMeterSource)
    assert message in str(raised.value)


def test_init_suggests_a_meter_that_is_heard() -> None:
    port = free_port(socket.SOCK_DGRAM)
    assert list(suggest_energy_meter(port=port, listen_seconds=0.01)) == []
    # The group's interface is the system's choice here: by unicast it is the same socket.
    with Sender(port, group=LOOPBACK) as sender:
        sender.keep_sending([DISCOVERY, datagram()[:50], datagram(serial=B)])
        (suggestion,) = suggest_energy_meter(port=port, listen_seconds=60)
    assert suggestion.section == {"type": "SmaEnergyMeter", "serial": B}


SENDER = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
interface = socket.inet_aton(sys.argv[1])
while True:
    try:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        for frame in sys.argv[2:]:
            sender.sendto(bytes.fromhex(frame), ("239.12.255.254", 9522))
    except OSError:
        pass
    time.sleep(0.1)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Lan:
    """A host and a meter, each a network namespace, joined by a cable that can be plugged in."""

    HOST, METER = "10.44.1.1", "10.44.1.2"

    def __init__(self, *frames: bytes) -> None:
        tag = uuid.uuid4().hex[:6]
        self.host, self.meter = f"ph{tag}h", f"ph{tag}m"
        self._frames = [frame.hex() for frame in frames]

    def __enter__(self) -> "Lan":
        for name in (self.host, self.meter):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        command = ["ip", "netns", "exec", self.meter, sys.executable, "-c", SENDER]
        self._sender = subprocess.Popen([*command, self.METER, *self._frames])
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.kill()
        self._sender.wait(30)
        for name in (self.host, self.meter):
            ip("netns", "del", name)

    @property
    def prefix(self) -> list[str]:
        """What runs a command on the host."""
        return ["ip", "netns", "exec", self.host]

    def plug_in(self) -> None:
        ip(
            "link",
            "add",
            "lan0",
            "netns",
            self.host,
            "type",
            "veth",
            "peer",
            "lan0",
            "netns",
            self.meter,
        )
        for name, address in ((self.host, self.HOST), (self.meter, self.METER)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "lan0")
            ip("-n", name, "link", "set", "lan0", "up")


needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make network namespaces"),
]


@pytest.fixture
def lan(recording: Callable[[str], bytes]) -> Iterator[Lan]:
    names = ("shm2", "emeter20_01", "discovery_request")
    frames = [bytes.fromhex(recording(f"sma_energy_meter/{n}.hex").decode()) for n in names]
    with Lan(as_meter(frames[0], A), as_meter(frames[1], B), frames[2]) as lan:
        yield lan


class TestBetweenNamespaces:
    pytestmark = needs_root

    def test_meters_on_the_network_are_read(self, lan: Lan, tmp_path: Path) -> None:
        lan.plug_in()
        words = ("probe", "SmaEnergyMeter", f"hostIp={lan.HOST}", f'serial=["{A}", "{B}"]')
        done = call(*words, folder=tmp_path, prefix=lan.prefix)
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(A) in done.stdout

    def test_init_hears_the_meter_of_the_default_route(self, lan: Lan, tmp_path: Path) -> None:
        lan.plug_in()
        ip("-n", lan.host, "route", "add", "default", "via", lan.METER)
        done = call("init", "-", folder=tmp_path, prefix=lan.prefix)
        assert "type: SmaEnergyMeter" in done.stdout

    def test_a_start_before_the_network_is_there(self, lan: Lan, tmp_path: Path) -> None:
        config = tmp_path / "config.yml"
        config.write_text(
            "tickTime: 0.5\nwriter: {type: DryRun}\n"
            "executors:\n  - collection: home\n    sources:\n"
            f"      - {{type: SmaEnergyMeter, hostIp: {lan.HOST}, serial: {A}}}\n"
        )
        command = [*lan.prefix, str(Path(sys.executable).with_name("pollect"))]
        with start("run", "-c", config, folder=tmp_path, command=command) as daemon:
            daemon.wait_for("is the network up, and is hostIp an address of this host?")
            lan.plug_in()
            daemon.wait_for("wirkleistung_positive_sum")
            assert daemon.stop() == 0
