"""`TcpTime` against real listeners."""

import socket
import time

import pytest

from pollect.api import ConfigError
from pollect.testing import build_source
from pollect_sources_network.tcp_time import TcpTimeSource
from tests.simulators.certificates import Authority
from tests.simulators.tcp import (
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

SHORT_SECONDS = 0.4


def check(**section: object) -> dict[str, float]:
    return probe(build_source({"timeout": 5, "details": True, **section}, TcpTimeSource))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_time_to_connect_is_in_milliseconds(host: str) -> None:
    with serve_tcp(silent, host=host) as server:
        found = probe(build_source({"host": host, "port": server.port}, TcpTimeSource))
    assert found.keys() == {"", "success"}
    assert 0 < found[""] < 5000
    assert found["success"] == 1


def test_peer_that_resets_at_once_keeps_its_value() -> None:
    with serve_tcp(hang_up) as server:
        found = check(host="127.0.0.1", port=server.port)
    assert found["success"] == 1
    assert found[""] < 5000


def test_refused_and_unknown_are_the_time_limit() -> None:
    with closed_port() as port:
        found = check(host="127.0.0.1", port=port)
    assert (found[""], found["success"], found["result_code"]) == (5000, 0, 2)
    found = check(host="nowhere.invalid", port=1)
    assert (found[""], found["success"], found["result_code"]) == (5000, 0, 5)


def test_unanswered_connection_ends_in_time() -> None:
    with full_backlog() as port:
        begin = time.monotonic()
        found = check(host="127.0.0.1", port=port, timeout=SHORT_SECONDS)
        assert time.monotonic() - begin < SHORT_SECONDS + 2
    assert (found[""], found["success"], found["result_code"]) == (400, 0, 1)


def test_address_that_swallows_everything_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_backlog() as dead, serve_tcp(silent) as server:
        stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(*stream, ("127.0.0.1", port)) for port in (dead, server.port)]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_: found)
            answer = check(host="two.example", port=1, timeout=SHORT_SECONDS)
    assert answer["success"] == 1
    assert 200 <= answer[""] < 400


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
    for peer, code in ((silent, 1), (trickle(b"."), 1), (hang_up, 3)):
        with serve_tcp(peer) as server:
            found = check(host="127.0.0.1", port=server.port, expect="x", timeout=SHORT_SECONDS)
        assert (found["success"], found["result_code"], found[""]) == (0, code, 400)


def test_tls_is_a_phase_of_its_own(tmp_path) -> None:
    with serve_tcp(silent, tls=Authority(tmp_path).server("example.org")) as server:
        found = check(host="127.0.0.1", port=server.port, tls=True)
    assert found["success"] == 1
    assert found["phase_seconds{phase=tls}"] > 0
    with serve_tcp(rubbish) as server:
        found = check(host="127.0.0.1", port=server.port, tls=True)
    assert (found["success"], found["result_code"]) == (0, 6)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "host"),
        ({"host": "h"}, "port"),
        ({"hosts": ["h:1", "h"]}, "hosts[1]"),
        ({"hosts": ["h:70000"]}, "hosts[0]"),
        ({"host": "h", "port": 1, "expect": "("}, "expect"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source(section, TcpTimeSource)
    assert caught.value.key == key
