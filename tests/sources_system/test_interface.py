import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pollect.api import Roots
from pollect.testing import FakeClock, build_source
from pollect.testing.waiting import wait_until
from pollect_sources_system.interface import InterfaceSource
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read

HEADER = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""  # noqa: E501


@pytest.fixture
def fake_proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    return tmp_path


def write_cards(proc: Path, **cards: tuple[int, int, int, int]) -> None:
    """Let the kernel show these cards: bytes and packets received, bytes and packets sent."""
    lines = (
        f"{name.replace('__', '.')}: {recv} {recv_packets} 1 2 0 0 0 0 {sent} {sent_packets} 3 4 0 0 0 0\n"  # noqa: E501
        for name, (recv, recv_packets, sent, sent_packets) in cards.items()
    )
    (proc / "net" / "dev").write_text(HEADER + "".join(lines))


def open_source(proc: Path, clock: FakeClock, **section: object) -> InterfaceSource:
    source = build_source(section, InterfaceSource, roots=Roots(proc=proc), clock=clock)
    source.open()
    return source  # type: ignore[return-value]


def test_rates_appear_from_the_second_probe_on(fake_proc: Path) -> None:
    clock = FakeClock()
    source = open_source(fake_proc, clock)
    write_cards(fake_proc, eth0=(1000, 10, 500, 5))
    assert read(source) == {}
    clock.advance(1.9)
    write_cards(fake_proc, eth0=(2900, 29, 690, 24))
    assert read(source) == pytest.approx(
        {
            ("recv_bytes_sec", "eth0"): 1000.0,
            ("recv_packets_sec", "eth0"): 10.0,
            ("sent_bytes_sec", "eth0"): 100.0,
            ("sent_packets_sec", "eth0"): 10.0,
        }
    )


def test_totals_appear_from_the_first_probe_on(fake_proc: Path) -> None:
    write_cards(fake_proc, eth0=(1000, 10, 500, 5))
    assert read(open_source(fake_proc, FakeClock(), includeTotal=True)) == {
        ("total_bytes_recv", "eth0"): 1000,
        ("total_packets_recv", "eth0"): 10,
        ("total_bytes_sent", "eth0"): 500,
        ("total_packets_sent", "eth0"): 5,
    }


def test_errors_and_drops_are_reported_on_request(fake_proc: Path) -> None:
    clock = FakeClock()
    source = open_source(fake_proc, clock, errors=True, includeTotal=True)
    write_cards(fake_proc, eth0=(0, 0, 0, 0))
    found = read(source)
    assert found["total_errors_recv", "eth0"] == 1
    assert found["total_drops_recv", "eth0"] == 2
    assert found["total_errors_sent", "eth0"] == 3
    assert found["total_drops_sent", "eth0"] == 4
    clock.advance(1)
    assert read(source)["sent_drops_sec", "eth0"] == 0.0


def test_two_probes_in_the_same_instant_give_no_rate(fake_proc: Path) -> None:
    source = open_source(fake_proc, FakeClock())
    write_cards(fake_proc, eth0=(1000, 10, 500, 5))
    assert read(source) == read(source) == {}


def test_card_made_anew_skips_one_rate(fake_proc: Path) -> None:
    clock = FakeClock()
    source = open_source(fake_proc, clock, include=["eth0"])
    found = []
    for received in (1000, 10, 30):
        write_cards(fake_proc, eth0=(received, 0, 0, 0))
        found.append(read(source).get(("recv_bytes_sec", "eth0")))
        clock.advance(1)
    assert found == [None, None, 20.0]


def test_card_that_was_away_begins_anew(fake_proc: Path) -> None:
    clock = FakeClock()
    source = open_source(fake_proc, clock)
    found = []
    for cards in ({"eth0": (0, 0, 0, 0)}, {}, {"eth0": (5000, 0, 0, 0)}):
        write_cards(fake_proc, **cards)
        found.append(read(source))
        clock.advance(1)
    assert found == [{}, {}, {}]


def test_dots_become_underscores_after_the_filter(fake_proc: Path) -> None:
    write_cards(fake_proc, eth0__100=(1, 1, 1, 1), eth0=(2, 2, 2, 2))
    source = open_source(fake_proc, FakeClock(), includeTotal=True, include="eth0.100")
    assert {label for _, label in read(source)} == {"eth0_100"}


def test_two_cards_that_would_share_a_label_are_told_apart(fake_proc: Path) -> None:
    write_cards(fake_proc, eth0__1=(1, 1, 1, 1), eth0_1=(2, 2, 2, 2))
    source = open_source(fake_proc, FakeClock(), includeTotal=True)
    for _ in range(2):
        found = read(source)
        assert found["total_bytes_recv", "eth0.1"] == 1
        assert found["total_bytes_recv", "eth0_1"] == 2


@pytest.mark.parametrize("line", ["eth9: 1 2 3", "eth9", "eth9: 1 x 3 4 0 0 0 0 5 6 7 8 0 0 0 0"])
def test_line_that_makes_no_sense_costs_only_itself(fake_proc: Path, line: str) -> None:
    write_cards(fake_proc, eth0=(1, 1, 1, 1), eth1=(2, 2, 2, 2))
    file = fake_proc / "net" / "dev"
    sane = file.read_text()
    file.write_text(sane.replace("eth1:", f"{line}\neth1:"))
    source = open_source(fake_proc, FakeClock(), includeTotal=True)
    assert {label for _, label in read(source)} == {"eth0", "eth1"}
    assert source.troubles.texts() == (f"network cards: cannot make sense of the line {line!r}",)
    file.write_text(sane)
    read(source)
    assert not source.troubles


def test_card_may_have_any_name_the_kernel_allows(fake_proc: Path) -> None:
    (fake_proc / "net" / "dev").write_bytes(
        (HEADER + "eth0:1:7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n").encode()
        + b"caf\xe9: 9 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n"
    )
    found = read(open_source(fake_proc, FakeClock(), includeTotal=True))
    assert found["total_bytes_recv", "eth0:1"] == 7
    assert found["total_bytes_recv", "caf\udce9"] == 9


def test_host_around_a_container_is_shown(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for folder in ("1", "self"):
        (proc / folder / "net").mkdir(parents=True)
    write_cards(proc / "1", eth0=(1, 1, 1, 1), veth7=(2, 2, 2, 2))
    write_cards(proc / "self", eth0=(9, 9, 9, 9))
    card = tmp_path / "sys" / "class" / "net" / "eth0"
    card.mkdir(parents=True)
    for name, text in {
        "operstate": "up",
        "flags": "0x1003",
        "mtu": "9000",
        "speed": "2500",
    }.items():
        (card / name).write_text(f"{text}\n")
    veth = card.parent / "veth7"
    veth.mkdir()
    for name, text in {"operstate": "down", "flags": "0x1002", "mtu": "1500"}.items():
        (veth / name).write_text(f"{text}\n")
    roots = Roots(proc=proc, sys=tmp_path / "sys", rootfs=tmp_path)
    source = build_source({"includeTotal": True, "state": True}, InterfaceSource, roots=roots)
    source.open()
    found = read(source)
    assert found["total_bytes_recv", "eth0"] == 1
    assert found["up", "eth0"] == 1
    assert found["mtu", "eth0"] == 9000
    assert found["speed_bits", "eth0"] == 2.5e9
    assert found["up", "veth7"] == 0
    assert ("speed_bits", "veth7") not in found


def test_loopback_counts_a_known_volume() -> None:
    clock = FakeClock()
    source = open_source(Path("/proc"), clock, include=["lo"], includeTotal=True)
    before = read(source)
    packets, size = 50, 1000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(packets):
                sender.sendto(b"x" * size, receiver.getsockname())
    clock.advance(2)
    after = read(source)
    sent = after["total_bytes_sent", "lo"] - before["total_bytes_sent", "lo"]
    assert sent >= packets * size
    assert after["sent_bytes_sec", "lo"] == sent / 2


@pytest.mark.integration
def test_totals_agree_with_node_exporter(node_exporter: NodeExporter) -> None:
    traffic = psutil.net_io_counters(pernic=True, nowrap=False)
    card = max(traffic, key=lambda name: traffic[name].bytes_recv)
    source = open_source(
        Path("/proc"), FakeClock(), include=[card], includeTotal=True, errors=True, state=True
    )
    pairs = {
        "total_bytes_recv": "node_network_receive_bytes_total",
        "total_bytes_sent": "node_network_transmit_bytes_total",
        "total_packets_recv": "node_network_receive_packets_total",
        "total_packets_sent": "node_network_transmit_packets_total",
        "total_errors_recv": "node_network_receive_errs_total",
        "total_errors_sent": "node_network_transmit_errs_total",
        "total_drops_recv": "node_network_receive_drop_total",
        "total_drops_sent": "node_network_transmit_drop_total",
        "mtu": "node_network_mtu_bytes",
    }
    before = {name: node_exporter.value(theirs, device=card) for name, theirs in pairs.items()}
    found = read(source)
    for name, theirs in pairs.items():
        after = node_exporter.value(theirs, device=card)
        assert before[name] <= found[name, card.replace(".", "_")] <= after, name


@pytest.fixture
def network_namespace() -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2")
    name = f"pollect-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.root
def test_real_card_that_is_deleted_and_made_again_skips_one_rate(network_namespace: str) -> None:
    card = f"pv{os.getpid()}"[:15]
    clock = FakeClock()
    source = open_source(Path("/proc"), clock, include=[card], includeTotal=True, state=True)

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    def make() -> None:
        ip("link", "add", card, "type", "veth", "peer", "name", "peer", "netns", network_namespace)
        ip("link", "set", card, "up")
        ip("-n", network_namespace, "link", "set", "peer", "up")
        # The kernel may take a second to notice that both ends are up.
        state = Path("/sys/class/net", card, "operstate")
        wait_until(lambda: state.read_text() == "up\n", "a card that is up")

    found = []
    try:
        make()
        for _ in range(2):
            found.append(read(source))
            clock.advance(1)
        ip("link", "delete", card)
        found.append(read(source))
        make()
        found.append(read(source))
    finally:
        subprocess.run(["ip", "link", "delete", card], check=False)
    rate = ("recv_bytes_sec", card)
    assert [rate in readings for readings in found] == [False, True, False, False]
    assert found[2] == {}
    assert found[3]["up", card] == 1.0
    assert found[3]["mtu", card] == 1500
