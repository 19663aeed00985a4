"""`Dns` against a real unbound, and against servers that misbehave."""

import socket
import sys
import threading
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import msgspec
import pytest

from pollect.api import ConfigError, MissingDependency, TargetUnavailable
from pollect.testing import build_source, serve_udp
from pollect_sources_network.dns import DnsSource
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import (
    IN_TIME_SECONDS,
    SILENT_SECONDS,
    Peer,
    hang_up,
    rubbish,
    serve_tcp,
    silent,
    trickle,
)
from tests.sources_network.samples import probe

SHORT_SECONDS = 0.4
LABELS = "{server=127.0.0.1,query=www.example.test,record_type=A}"


def ask(**section: object) -> dict[str, float]:
    section = {"server": "127.0.0.1", "query": "www.example.test", "timeout": 30, **section}
    return probe(build_source(section, DnsSource))


@pytest.fixture(scope="module")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int | str]]:
    program = find_program("unbound", "unbound")
    folder = tmp_path_factory.mktemp("unbound")
    authority = Authority(folder)
    authority.write_pem(folder / "server.pem", "localhost", "127.0.0.1")
    plain, tls = free_port(), free_port()
    many = "\n".join(
        f"""  local-data: 'many.example.test. 60 IN TXT "{number:03} {"x" * 200}"'"""
        for number in range(40)
    )
    config = folder / "unbound.conf"
    config.write_text(
        f"""
server:
  interface: 127.0.0.1@{plain}
  interface: 127.0.0.1@{tls}
  tls-port: {tls}
  tls-service-pem: {folder}/server.pem
  tls-service-key: {folder}/server.pem
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: {folder}
  pidfile: ""
  local-zone: example.test. static
  local-data: "example.test. 300 IN SOA ns.example.test. admin.example.test. 2026112201 2 3 4 5"
  local-data: "www.example.test. 120 IN A 192.0.2.1"
  local-data: "www.example.test. 120 IN A 192.0.2.2"
  local-data: "www.example.test. 60 IN AAAA 2001:db8::1"
{many}
remote-control:
  control-enable: no
"""
    )
    with run_daemon([program, "-d", "-c", str(config)], folder, plain, tls):
        yield {"plain": plain, "tls": tls, "ca": str(authority.ca_file)}


@pytest.mark.integration
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_answer_is_timed_and_described(unbound, transport: str) -> None:
    found = ask(port=unbound["plain"], transport=transport, details=True)
    assert found[f"success{LABELS}"] == 1
    assert 0 < found[f"query_seconds{LABELS}"] < 5
    assert found[f"rcode{LABELS}"] == 0
    assert found[f"answers{LABELS}"] == 2
    assert found[f"ttl_seconds{LABELS}"] == 120
    assert found[f"authoritative{LABELS}"] == 1
    assert found[f"authenticated{LABELS}"] == 0


@pytest.mark.integration
def test_without_details_there_is_success_and_time(unbound) -> None:
    assert ask(port=unbound["plain"]).keys() == {f"success{LABELS}", f"query_seconds{LABELS}"}


@pytest.mark.integration
def test_tls_is_verified_unless_told_otherwise(unbound) -> None:
    section = {"port": unbound["tls"], "transport": "tls"}
    assert ask(**section, caFile=unbound["ca"])[f"success{LABELS}"] == 1
    assert ask(**section, verify=False)[f"success{LABELS}"] == 1
    assert ask(**section) == {f"success{LABELS}": 0}
    assert ask(**section, caFile=unbound["ca"], serverName="other") == {f"success{LABELS}": 0}


@pytest.mark.integration
def test_every_server_name_and_type_is_asked(unbound) -> None:
    found = ask(
        port=unbound["plain"],
        server=["127.0.0.1", "localhost"],
        query=["www.example.test", "example.test"],
        recordType=["AAAA", "SOA"],
        details=True,
    )
    assert len([name for name in found if name.startswith("success")]) == 8
    soa = "{server=127.0.0.1,query=example.test,record_type=SOA}"
    assert found[f"soa_serial{soa}"] == 2026112201


@pytest.mark.integration
def test_missing_name_fails_unless_it_is_expected(unbound) -> None:
    labels = "{server=127.0.0.1,query=no.example.test,record_type=A}"
    section = {"port": unbound["plain"], "query": "no.example.test", "details": True}
    found = ask(**section)
    assert (found[f"success{labels}"], found[f"rcode{labels}"]) == (0, 3)
    assert ask(**section, rcode="NXDOMAIN")[f"success{labels}"] == 1
    assert ask(**section, rcode=None)[f"success{labels}"] == 1


@pytest.mark.integration
def test_records_are_matched(unbound) -> None:
    assert ask(port=unbound["plain"], match=r"^192\.0\.2\.2$")[f"success{LABELS}"] == 1
    assert ask(port=unbound["plain"], match="^10\\.")[f"success{LABELS}"] == 0


@pytest.mark.integration
def test_truncated_answer_is_fetched_by_tcp(unbound) -> None:
    found = ask(port=unbound["plain"], query="many.example.test", recordType="TXT", details=True)
    labels = "{server=127.0.0.1,query=many.example.test,record_type=TXT}"
    assert found[f"answers{labels}"] == 40


@pytest.mark.parametrize(
    ("section", "recursive", "dnssec"),
    [({}, True, False), ({"recursive": False}, False, False), ({"dnssec": True}, True, True)],
)
def test_question_is_put_as_configured(
    section: dict[str, object], recursive: bool, dnssec: bool
) -> None:
    asked = []

    def vouch(data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        asked.append((bool(query.flags & dns.flags.RD), bool(query.ednsflags & dns.flags.DO)))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AD
        return response.to_wire()

    with serve_udp(vouch, host="::1") as server:
        found = ask(server="::1", port=server.port, details=True, **section)
    labels = "{server=::1,query=www.example.test,record_type=A}"
    assert asked == [(recursive, dnssec)]
    assert (found[f"success{labels}"], found[f"answers{labels}"]) == (1, 0)
    assert (found[f"authenticated{labels}"], found[f"authoritative{labels}"]) == (1, 0)
    assert f"ttl_seconds{labels}" not in found


def of_somebody_else(data: bytes) -> bytes:
    """Answer with the identifier of another query."""
    return bytes([data[0] ^ 1]) + data[1:2] + b"\x81\x80" + data[4:]


def cut_short(data: bytes) -> bytes:
    return dns.message.make_response(dns.message.from_wire(data)).to_wire()[:15]


@pytest.mark.parametrize(
    "reply",
    [lambda data: None, lambda data: b"\xff rubbish", of_somebody_else, cut_short],
    ids=["silent", "rubbish", "of somebody else", "cut short"],
)
def test_broken_udp_servers_are_no_success_in_time(reply) -> None:
    with serve_udp(reply) as server:
        begin = time.monotonic()
        assert ask(port=server.port, timeout=SHORT_SECONDS) == {f"success{LABELS}": 0}
        assert time.monotonic() - begin < IN_TIME_SECONDS


def half_open(connection: socket.socket, peer: Peer) -> None:
    connection.recv(4096)
    connection.sendall(b"\x00\x40half")
    peer.over.wait(SILENT_SECONDS)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize(
    "peer",
    [silent, trickle(b"\x00\x40"), rubbish, hang_up, half_open],
    ids=["silent", "slow loris", "rubbish", "reset", "half open"],
)
def test_broken_tcp_servers_are_no_success_in_time(transport: str, peer) -> None:
    with serve_tcp(peer) as server:
        begin = time.monotonic()
        found = ask(port=server.port, transport=transport, timeout=SHORT_SECONDS)
        assert found == {f"success{LABELS}": 0}
        assert time.monotonic() - begin < IN_TIME_SECONDS


def test_answer_that_stays_truncated_uses_one_time_limit() -> None:
    def truncated(data: bytes) -> bytes:
        response = dns.message.make_response(dns.message.from_wire(data))
        response.flags |= dns.flags.TC
        return response.to_wire()

    with serve_udp(truncated) as server:
        assert ask(port=server.port, timeout=SHORT_SECONDS) == {f"success{LABELS}": 0}


@pytest.mark.parametrize(
    "kind", ["wrong id", "wrong address", "other question", "rubbish", "empty"]
)
def test_datagrams_that_answer_nothing_are_ignored(kind: str) -> None:
    """RFC 5452, section 9.1: they may be forged, and the right answer is still to come."""

    def serve(sock: socket.socket, other: socket.socket) -> None:
        wire, client = sock.recvfrom(4096)
        query = dns.message.from_wire(wire)
        right, forged = dns.message.make_response(query), dns.message.make_response(query)
        forged.set_rcode(dns.rcode.REFUSED)
        data = forged.to_wire()
        if kind == "wrong id":
            forged.id = query.id ^ 1
            data = forged.to_wire()
        elif kind == "other question":
            elsewhere = dns.message.make_query("evil.example", "A", id=query.id)
            data = dns.message.make_response(elsewhere).to_wire()
        elif kind == "rubbish":
            data = b"\xff" * 40
        elif kind == "empty":
            data = b""
        (other if kind == "wrong address" else sock).sendto(data, client)
        sock.sendto(right.to_wire(), client)

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        sock.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        thread = threading.Thread(target=serve, args=(sock, other))
        thread.start()
        found = ask(port=sock.getsockname()[1], rcode="NOERROR", details=True)
        thread.join()
    assert found[f"success{LABELS}"] == 1
    assert found[f"rcode{LABELS}"] == 0


def test_absent_and_unknown_servers_are_no_success() -> None:
    assert ask(port=free_port(socket.SOCK_DGRAM), timeout=SHORT_SECONDS) == {f"success{LABELS}": 0}
    for name in ("nowhere.invalid", "a..b"):
        (value,) = ask(server=name).values()
        assert value == 0


def test_silent_server_is_told_once_whatever_it_is_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_silent = True

    def reply(data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        if query.question[0].name.to_text() == "absent.example.test.":
            response.set_rcode(dns.rcode.NXDOMAIN)
        return None if is_silent else response.to_wire()

    names = ["www.example.test", "absent.example.test"]
    with serve_udp(reply) as server:
        section = {"server": "127.0.0.1", "port": server.port, "query": names}
        source = build_source({**section, "timeout": SHORT_SECONDS}, DnsSource)
        for _ in range(2):
            probe(source)
        is_silent = False
        source.config = msgspec.structs.replace(source.config, timeout=30.0)
        for _ in range(2):
            probe(source)
    assert caplog.messages == [
        "127.0.0.1: no answer in time",
        "127.0.0.1: works again",
        "127.0.0.1, A of absent.example.test: NXDOMAIN, expected NOERROR",
    ]


def test_query_that_alone_gets_no_answer_is_told_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def reply(data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        is_lost = query.question[0].name.to_text() == "lost.example.test."
        return None if is_lost else dns.message.make_response(query).to_wire()

    with serve_udp(reply) as server:
        section = {"server": "127.0.0.1", "port": server.port, "timeout": 1}
        query = ["www.example.test", "lost.example.test"]
        source = build_source({**section, "query": query}, DnsSource)
        for _ in range(2):
            probe(source)
    assert caplog.messages == ["127.0.0.1, A of lost.example.test: no answer in time"]


@pytest.mark.parametrize(
    ("section", "key"),
    [({"query": []}, "query"), ({"query": "a..b"}, "query"), ({"server": ""}, "server"),
     ({"match": "("}, "match"), ({"serverName": "a..b"}, "serverName")],
)  # fmt: skip
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source({"server": "h", "query": "n", **section}, DnsSource)
    assert caught.value.key == key


def test_unknown_record_types_and_codes_are_refused() -> None:
    for section in ({"recordType": "AAA"}, {"rcode": "NO"}):
        with pytest.raises((msgspec.ValidationError, ConfigError)):
            build_source({"server": "h", "query": "n", **section}, DnsSource)


def test_absent_file_of_authorities_is_named() -> None:
    with pytest.raises(TargetUnavailable, match=r"absent\.pem: No such file"):
        ask(transport="tls", caFile="absent.pem")


def test_absent_library_is_a_missing_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.query", None)
    source = build_source({"server": "h", "query": "n"}, DnsSource)
    with pytest.raises(MissingDependency, match=r"pollect-sources-network\[dns\]"):
        source.open()
