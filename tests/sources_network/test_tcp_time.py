"""`TcpTime` against real listeners."""

import socket
import time
from pathlib import Path

import dns.message
import pytest

from pollect.api import ConfigError
from pollect.testing import build_source, serve_udp
from pollect_sources_network.tcp_time import TcpTimeSource
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import (
    IN_TIME_SECONDS,
    Peer,
    closed_port,
    full_backlog,
    hang_up,
    rubbish,
    say,
    serve_tcp,
    silent,
    trickle,
)
from tests.sources_network.samples import probe

SHORT_SECONDS, PATIENT_SECONDS = 0.4, 30.0


def check(**section: object) -> dict[str, float]:
    return probe(
        build_source({"timeout": PATIENT_SECONDS, "details": True, **section}, TcpTimeSource)
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_time_to_connect_is_in_milliseconds(host: str) -> None:
    with serve_tcp(silent, host=host) as server:
        found = probe(build_source({"host": host, "port": server.port}, TcpTimeSource))
    assert found.keys() == {"", "success"}
    assert 0 < found[""] < 30_000
    assert found["success"] == 1


def test_peer_that_resets_at_once_keeps_its_value() -> None:
    with serve_tcp(hang_up) as server:
        found = check(host="127.0.0.1", port=server.port)
    assert found["success"] == 1
    assert found[""] < 30_000


def test_refused_and_unknown_are_the_time_limit() -> None:
    with closed_port() as port:
        found = check(host="127.0.0.1", port=port)
    assert (found[""], found["success"], found["result_code"]) == (30_000, 0, 2)
    found = check(host="nowhere.invalid", port=1)
    assert (found[""], found["success"], found["result_code"]) == (30_000, 0, 5)


def test_reason_of_a_failure_is_told_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    source = build_source({"host": "127.0.0.1", "port": port}, TcpTimeSource)
    for _ in range(2):
        probe(source)
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(2):
            probe(source)
    where = f"127.0.0.1 port {port}"
    assert caplog.messages == [f"{where}: Connection refused", f"{where}: works again"]


def test_reasons_name_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    def close(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)

    with serve_tcp(say(b"220 hunter2")) as other, serve_tcp(silent) as quiet:
        with serve_tcp(close) as closing:
            hosts = [f"127.0.0.1:{each.port}" for each in (other, closing)]
            for section in (
                {"hosts": [*hosts, "nowhere.invalid:1"]},
                {"host": "127.0.0.1", "port": quiet.port, "timeout": SHORT_SECONDS},
            ):
                source = build_source({**section, "send": "x", "expect": "^250"}, TcpTimeSource)
                for _ in range(2):
                    probe(source)
    mismatch, closed, unknown, timed_out = [text.split(": ", 1)[1] for text in caplog.messages]
    assert mismatch == "the answer is not as `expect` asks for"
    assert timed_out == "no answer in time"
    assert closed == "it closed the connection without an answer"
    assert unknown


def test_reason_of_a_failed_handshake_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with serve_tcp(rubbish) as server:
        assert check(host="127.0.0.1", port=server.port, tls=True)["result_code"] == 6
    assert caplog.messages == [f"127.0.0.1 port {server.port}: TLS failed: wrong version number"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_version_of_ip_may_be_demanded(protocol: str) -> None:
    section = {"protocol": protocol, "send": "x"}
    with serve_tcp(silent, host="::1") as tcp, serve_udp(lambda data: data, host="::1") as udp:
        port = tcp.port if protocol == "tcp" else udp.port
        assert check(host="::1", port=port, ipProtocol=6, **section)["success"] == 1
        assert check(host="::1", port=port, ipProtocol=4, **section)["result_code"] == 5


def test_unanswered_connection_ends_in_time() -> None:
    with full_backlog() as port:
        begin = time.monotonic()
        found = check(host="127.0.0.1", port=port, timeout=SHORT_SECONDS)
        assert time.monotonic() - begin < IN_TIME_SECONDS
    assert (found[""], found["success"], found["result_code"]) == (400, 0, 1)


def test_address_that_swallows_everything_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_backlog() as dead, serve_tcp(silent) as server:
        stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(*stream, ("127.0.0.1", port)) for port in (dead, server.port)]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_: found)
            answer = check(host="two.example", port=1, timeout=3)
    assert answer["success"] == 1
    assert 1500 <= answer[""] < 3000


def test_several_hosts_are_told_apart() -> None:
    with serve_tcp(silent) as server, closed_port() as port:
        good, bad = server.address, f"127.0.0.1:{port}"
        found = probe(build_source({"hosts": [good, bad]}, TcpTimeSource))
    assert found[f"success{{host={good}}}"] == 1
    assert found[f"success{{host={bad}}}"] == 0
    assert found[f"{{host={bad}}}"] == 10_000


def test_answer_is_awaited_and_matched() -> None:
    with serve_tcp(say(b"+PONG\r\n")) as server:
        section = {"host": "127.0.0.1", "port": server.port, "send": "PING\r\n"}
        assert check(**section, expect=r"^\+PONG")["success"] == 1
        found = check(**section, expect="-ERR")
        assert (found["success"], found["result_code"]) == (0, 4)


def test_answer_that_never_comes_ends_in_time() -> None:
    for peer, code, seconds in (
        (silent, 1, SHORT_SECONDS),
        (trickle(b"."), 1, SHORT_SECONDS),
        (hang_up, 3, PATIENT_SECONDS),
    ):
        with serve_tcp(peer) as server:
            found = check(host="127.0.0.1", port=server.port, expect="x", timeout=seconds)
        assert (found["success"], found["result_code"], found[""]) == (0, code, seconds * 1000)


def test_tls_is_a_phase_of_its_own(tmp_path) -> None:
    with serve_tcp(silent, tls=Authority(tmp_path).server("example.org")) as server:
        found = check(host="127.0.0.1", port=server.port, tls=True)
    assert found["success"] == 1
    assert found["phase_seconds{phase=tls}"] > 0
    with serve_tcp(rubbish) as server:
        found = check(host="127.0.0.1", port=server.port, tls=True)
    assert (found["success"], found["result_code"]) == (0, 6)


def test_patience_for_the_answer_has_a_limit_of_its_own() -> None:
    with serve_tcp(trickle(b".")) as server:
        section = {"host": "127.0.0.1", "port": server.port, "expect": "x", "timeout": 50}
        begin = time.monotonic()
        found = check(**section, readTimeout=SHORT_SECONDS)
        assert time.monotonic() - begin < IN_TIME_SECONDS
    assert (found["success"], found["result_code"], found[""]) == (0, 1, 50_000)
    assert time.monotonic() - begin >= SHORT_SECONDS


SOURCE_ADDRESSES = pytest.mark.parametrize(
    ("host", "source"), [("127.0.0.1", "127.0.0.2"), ("::1", "::1")]
)


@SOURCE_ADDRESSES
def test_connection_comes_from_the_address_it_is_told(host: str, source: str) -> None:
    def tell(connection: socket.socket, peer: Peer) -> None:
        connection.sendall(connection.getpeername()[0].encode())

    with serve_tcp(tell, host=host) as server:
        section = {"host": host, "port": server.port, "sourceAddress": source}
        assert check(**section, expect=f"^{source}$")["success"] == 1


@SOURCE_ADDRESSES
def test_datagram_comes_from_the_address_it_is_told(host: str, source: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        server.settimeout(30)
        section = {"host": host, "port": server.getsockname()[1], "sourceAddress": source}
        check(**section, protocol="udp", send="x", readTimeout=0.1)
        assert server.recvfrom(100)[1][0] == source


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_address_of_another_host_is_no_connection(protocol: str) -> None:
    section = {"host": "127.0.0.1", "port": 1, "protocol": protocol, "send": "x"}
    found = check(**section, sourceAddress="192.0.2.1")
    assert (found["success"], found["result_code"], found[""]) == (0, 2, 30_000)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_any_answer_by_udp_counts_unless_it_must_match(host: str) -> None:
    with serve_udp(lambda data: b"pong " + data, host=host) as server:
        section = {"host": host, "port": server.port, "protocol": "udp", "send": "hello"}
        found = check(**section)
        assert (found["success"], found["result_code"]) == (1, 0)
        assert 0 < found[""] < 30_000
        assert 0 < found["phase_seconds{phase=response}"] * 1000 <= found[""]
        assert "phase_seconds{phase=connect}" not in found
        assert check(**section, expect="^pong hello$")["success"] == 1
        found = check(**section, expect="^PONG")
        assert (found["success"], found["result_code"], found[""]) == (0, 4, 30_000)


def test_silence_by_udp_ends_in_time() -> None:
    with serve_udp(lambda data: None) as server:
        section = {"host": "127.0.0.1", "port": server.port, "protocol": "udp", "send": "x"}
        for limit in ({"timeout": SHORT_SECONDS}, {"timeout": 50, "readTimeout": SHORT_SECONDS}):
            begin = time.monotonic()
            found = check(**section, **limit)
            assert time.monotonic() - begin < IN_TIME_SECONDS
            assert (found["success"], found["result_code"]) == (0, 1)


def test_refusal_by_udp_is_told_at_once() -> None:
    begin = time.monotonic()
    port = free_port(socket.SOCK_DGRAM)
    found = check(host="127.0.0.1", port=port, protocol="udp", send="x")
    assert (found["success"], found["result_code"], found[""]) == (0, 2, 30_000)
    assert time.monotonic() - begin < IN_TIME_SECONDS
    found = check(host="nowhere.invalid", port=1, protocol="udp", send="x")
    assert (found["success"], found["result_code"]) == (0, 5)


def test_next_address_is_asked_where_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_udp(lambda data: b"here") as server:
        datagram = (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP, "")
        refusing = free_port(socket.SOCK_DGRAM)
        found = [(*datagram, ("127.0.0.1", port)) for port in (refusing, server.port)]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_: found)
            assert check(host="two.example", port=1, protocol="udp", send="x")["success"] == 1


@pytest.mark.integration
def test_resolver_of_debian_answers_by_udp(tmp_path: Path) -> None:
    program = find_program("unbound", "unbound")
    port = free_port()
    config = tmp_path / "unbound.conf"
    config.write_text(
        f"""
server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: {tmp_path}
  pidfile: ""
  local-zone: test. static
remote-control:
  control-enable: no
"""
    )
    query = dns.message.make_query("pollect.test", "A", id=0x1234).to_wire()
    with run_daemon([program, "-d", "-c", str(config)], tmp_path, port):
        found = check(
            host="localhost",
            port=port,
            protocol="udp",
            send=query.decode("ascii"),
            expect="^\\x12\\x34.*pollect",
        )
    assert found["success"] == 1


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "host"),
        ({"host": "h"}, "port"),
        ({"hosts": ["h:1", "h"]}, "hosts[1]"),
        ({"hosts": ["h:70000"]}, "hosts[0]"),
        ({"host": "h", "port": 1, "expect": "("}, "expect"),
        ({"host": "h", "port": 1, "protocol": "udp"}, "send"),
        ({"host": "h", "port": 1, "protocol": "udp", "send": "x", "tls": True}, "tls"),
        ({"host": "h", "port": 1, "timeout": 1, "readTimeout": 2}, "readTimeout"),
        ({"host": "h", "port": 1, "sourceAddress": "eth0"}, "sourceAddress"),
        ({"host": "h", "port": 1, "sourceAddress": "::1", "ipProtocol": 4}, "sourceAddress"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source(section, TcpTimeSource)
    assert caught.value.key == key
