"""`Ping` on loopback, and in network namespaces where the kernel's permission is ours to give."""

import os
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.api import ConfigError
from pollect.testing import build_source
from pollect_sources_network.icmp import build_request, checksum, parse_reply
from pollect_sources_network.ping import PingSource, mean_difference
from tests.simulators.ping import may_ping
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.samples import probe

FAST = {"count": 3, "spacing": 0.01, "replyTimeout": 10}
NAMESPACE_SECONDS = 50


needs_permission = pytest.mark.skipif(
    not may_ping(), reason="needs root, CAP_NET_RAW or net.ipv4.ping_group_range"
)


def has_namespaces() -> bool:
    unshare = shutil.which("unshare")
    command = ["unshare", "-rn", "ip", "link", "set", "lo", "up"]
    return unshare is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not has_namespaces(), reason="needs user namespaces and the program ip"
)


def run_in_namespace(script: str, group_range: str, *, privileged: bool = False) -> str:
    """Run a script in a network of its own, where only `group_range` may ping: none if empty."""
    imports = """
        import socket
        import threading
        import time
        from pathlib import Path
        from pollect.api import TargetUnavailable
        from pollect.testing import build_source
        from pollect_sources_network.ping import PingSource
        from tests.sources_network.samples import probe
    """
    drop = "" if privileged else "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs"
    allow = f"echo '{group_range}' > /proc/sys/net/ipv4/ping_group_range" if group_range else "true"
    setup = f'ip link set lo up && {allow} && exec {drop} "$0" -c "$1"'
    code = textwrap.dedent(imports) + textwrap.dedent(script)
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", setup, sys.executable, code],
        capture_output=True,
        text=True,
        timeout=NAMESPACE_SECONDS,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_permission
def test_loopback_answers_over_both_versions_of_ip() -> None:
    hosts = ["127.0.0.1", "::1"]
    found = probe(build_source({"host": hosts, "details": True, **FAST}, PingSource))
    for host, version in zip(hosts, (4, 6), strict=True):
        label = f"{{host={host}}}"
        assert found[f"success{label}"] == 1
        assert found[f"loss_ratio{label}"] == 0
        assert found[f"sent{label}"] == found[f"received{label}"] == 3
        times = [
            found[f"rtt_seconds{{host={host},stat={stat}}}"] for stat in ("min", "mean", "max")
        ]
        assert times == sorted(times)
        assert times[0] > 0
        assert 0 <= found[f"jitter_seconds{label}"] <= times[2] - times[0]
        assert 0 <= found[f"rtt_stddev_seconds{label}"] <= times[2] - times[0]
        assert 0 < found[f"resolve_seconds{label}"] < 5
        assert found[f"ip_protocol{label}"] == version
        assert found[f"ttl{label}"] == 64


@needs_permission
def test_names_of_the_same_address_are_told_apart() -> None:
    hosts = ["localhost", "127.0.0.1", "nowhere.invalid"]
    section = {"host": hosts, "ipProtocol": 4, **FAST}
    begin = time.monotonic()
    found = probe(build_source(section, PingSource))
    assert [found[f"success{{host={host}}}"] for host in hosts] == [1, 1, 0]
    assert found["loss_ratio{host=nowhere.invalid}"] == 1
    assert "rtt_seconds{host=nowhere.invalid,stat=min}" not in found
    assert time.monotonic() - begin < IN_TIME_SECONDS


@needs_permission
def test_two_probes_at_once_do_not_take_each_others_replies() -> None:
    with_slack = {"host": "127.0.0.1", "count": 20, "spacing": 0.01, "replyTimeout": 10}
    sources = [build_source({**with_slack, "details": True}, PingSource) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(probe, sources):
            assert found["received{host=127.0.0.1}"] == 20


@needs_permission
def test_large_payloads_come_back() -> None:
    section = {"host": "127.0.0.1", "size": 20_000, **FAST}
    assert probe(build_source(section, PingSource))["success{host=127.0.0.1}"] == 1


@needs_namespaces
def test_datagram_sockets_ping_without_privileges() -> None:
    out = run_in_namespace(
        """
        section = {"host": ["127.0.0.1", "::1"], "count": 2, "spacing": 0.01, "details": True}
        found = probe(build_source(section, PingSource))
        print(found["success{host=127.0.0.1}"], found["success{host=::1}"], found["ttl{host=::1}"])
        """,
        group_range="0 0",
    )
    assert out.split() == ["1.0", "1.0", "64.0"]


@needs_namespaces
def test_raw_sockets_ping_where_no_group_may() -> None:
    out = run_in_namespace(
        """
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
        except PermissionError:
            print("refused")
        section = {"host": ["127.0.0.1", "::1"], "count": 2, "spacing": 0.01, "details": True}
        found = probe(build_source(section, PingSource))
        for host in section["host"]:
            print(found[f"received{{host={host}}}"], found[f"ttl{{host={host}}}"])
        """,
        group_range="",
        privileged=True,
    )
    assert out.split() == ["refused", *["2.0", "64.0"] * 2]


@needs_namespaces
def test_refusal_tells_what_to_do() -> None:
    out = run_in_namespace(
        """
        try:
            probe(build_source({"host": "127.0.0.1"}, PingSource))
        except TargetUnavailable as error:
            print(error)
        """,
        group_range="",
    )
    assert "net.ipv4.ping_group_range='0 2147483647'" in out
    assert "CAP_NET_RAW" in out


@needs_namespaces
def test_loss_is_the_part_without_a_reply() -> None:
    out = run_in_namespace(
        """
        ignore = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
        def replies():
            names, numbers = (
                line.split() for line in Path("/proc/net/snmp").read_text().splitlines()
                if line.startswith("Icmp:")
            )
            return int(numbers[names.index("OutEchoReps")])
        def fall_silent(before):
            while replies() == before:
                time.sleep(0.001)
            ignore.write_text("1")
        hosts = ["127.0.0.1", "192.0.2.1"]
        section = {"host": hosts, "count": 12, "spacing": 0.05, "replyTimeout": 0.3}
        received = 12
        while received == 12:  # on a busy machine all may be answered by then
            ignore.write_text("0")
            thread = threading.Thread(target=fall_silent, args=(replies(),))
            thread.start()
            found = probe(build_source({**section, "details": True}, PingSource))
            thread.join()
            received = found["received{host=127.0.0.1}"]
            assert found["loss_ratio{host=127.0.0.1}"] == 1 - received / 12
        print(int(received > 0), found["loss_ratio{host=192.0.2.1}"])
        """,
        group_range="0 0",
        privileged=True,
    )
    assert out.split() == ["1", "1.0"]


@needs_namespaces
def test_host_without_ipv6_and_without_a_way_out_loses_all_requests() -> None:
    out = run_in_namespace(
        """
        hosts = ["192.0.2.1", "2001:db8::1"]
        begin = time.monotonic()
        section = {"host": hosts, "count": 2, "spacing": 0.01, "replyTimeout": 0.2}
        found = probe(build_source({**section, "details": True}, PingSource))
        assert time.monotonic() - begin < 20
        for host in hosts:
            assert found[f"success{{host={host}}}"] == 0
            assert not [name for name in found if "rtt" in name or "jitter" in name]
            print(found[f"sent{{host={host}}}"], found[f"loss_ratio{{host={host}}}"])
        """,
        group_range="0 0",
    )
    assert out.split() == ["2.0", "1.0"] * 2


def test_unknown_name_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    source = build_source({"host": "nowhere.invalid"}, PingSource)
    for _ in range(2):
        assert probe(source)["success{host=nowhere.invalid}"] == 0
    (message,) = caplog.messages
    assert message.startswith("nowhere.invalid: ")


@needs_namespaces
def test_silent_host_is_told_once_and_its_return_once() -> None:
    out = run_in_namespace(
        """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
        ignore = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
        section = {"host": ["127.0.0.1", "192.0.2.1"], "count": 1, "replyTimeout": 0.5}
        source = build_source(section, PingSource)
        for word in "1100":
            ignore.write_text(word)
            probe(source)
        """,
        group_range="0 0",
        privileged=True,
    )
    assert out.splitlines() == [
        "127.0.0.1: no reply",
        "192.0.2.1: Network is unreachable",
        "127.0.0.1: works again",
    ]


def test_jitter_is_the_mean_difference() -> None:
    assert mean_difference([1.0, 2.0, 2.0, 5.0]) == pytest.approx(4 / 3)


@given(st.binary(max_size=100), st.integers(0, 65535), st.integers(0, 65535))
def test_packets_carry_a_valid_checksum(payload: bytes, identifier: int, sequence: int) -> None:
    packet = build_request(8, identifier, sequence, payload)
    assert checksum(packet) == 0
    assert struct.unpack_from("!HH", packet, 4) == (identifier, sequence)
    assert parse_reply(packet, 0) is None
    assert parse_reply(b"\0" + packet[1:], 0) == (sequence, payload)


@pytest.mark.parametrize("packet", [b"", b"\0\0\0", b"\3" * 50])
def test_other_packets_are_no_reply(packet: bytes) -> None:
    assert parse_reply(packet, 0) is None


@pytest.mark.parametrize(
    ("section", "key"),
    [({"host": []}, "host"), ({"host": ["a", ""]}, "host"),
     ({"host": [str(n) for n in range(100)], "count": 1000}, "count")],
)  # fmt: skip
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source(section, PingSource)
    assert caught.value.key == key
