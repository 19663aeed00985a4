"""`Certificate` against TLS servers with every fault, and against real mail and LDAP servers."""

import re
import ssl
import time
from pathlib import Path

import pytest

from pollect.api import ConfigError, Source, TargetUnavailable
from pollect.testing import FakeClock, build_source
from pollect_sources_network.certificate.source import CertificateSource, whole_days
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import (
    IN_TIME_SECONDS,
    Peer,
    closed_port,
    hang_up,
    rubbish,
    say,
    serve_tcp,
    silent,
    trickle,
)
from tests.sources_network.samples import probe

DAYS = 40
SHORT_SECONDS = 0.5
#: OpenSSL's verdicts.
FINE, NOT_YET_VALID, EXPIRED, SELF_SIGNED = 0, 9, 10, 18
UNKNOWN_AUTHORITY, UNKNOWN_LEAF_ISSUER = 19, 20
WRONG_HOST, WRONG_ADDRESS = 62, 64


@pytest.fixture(scope="module")
def pem(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key, certificate and chain of `localhost` in one file."""
    file = tmp_path_factory.mktemp("pem") / "server.pem"
    return authority.write_pem(file, "localhost", "127.0.0.1", days=DAYS)


def build(**section: object) -> Source:
    clock = FakeClock(time=time.time())
    return build_source({"timeout": 10, **section}, CertificateSource, clock=clock)


def days_of(found: dict[str, float]) -> float:
    assert found["success"] == 1
    return found["cert_expire_days"]


def test_days_are_whole_and_truncated_toward_zero(authority: Authority) -> None:
    with serve_tcp(silent, tls=authority.server("127.0.0.1", days=DAYS + 0.5)) as server:
        found = probe(build(url=f"https://{server.address}/"))
    assert found == {"success": 1, "cert_expire_days": DAYS}
    assert [whole_days(days * 86400) for days in (3.5, 0.5, -0.5, -3.5)] == [3, 0, 0, -3]


@pytest.mark.parametrize(
    ("names", "days", "ca", "code", "expected"),
    [
        (("127.0.0.1",), DAYS + 0.5, True, FINE, DAYS),
        (("127.0.0.1",), -3.5, True, EXPIRED, -3),
        (("other.example",), DAYS + 0.5, True, WRONG_ADDRESS, DAYS),
        (("127.0.0.1",), DAYS + 0.5, False, UNKNOWN_LEAF_ISSUER, DAYS),
    ],
    ids=["good", "expired", "wrong host", "unknown issuer"],
)
def test_bad_certificates_still_have_their_days(
    authority: Authority, names, days: float, ca: bool, code: int, expected: int
) -> None:
    with serve_tcp(silent, tls=authority.server(*names, days=days)) as server:
        options = {"caFile": str(authority.ca_file)} if ca else {}
        found = probe(build(url=f"https://{server.address}/", details=True, **options))
    assert days_of(found) == expected
    assert (found["verify_code"], found["cert_valid"]) == (code, code == FINE)
    assert found["cert_expire_seconds"] == pytest.approx(days * 86400, abs=120)


def test_wrong_host_name_is_told_from_a_wrong_address(authority: Authority) -> None:
    with serve_tcp(silent, tls=authority.server("other.example")) as server:
        section = {"host": "localhost", "port": server.port, "caFile": str(authority.ca_file)}
        assert probe(build(**section, details=True))["verify_code"] == WRONG_HOST
        fixed = probe(build(**section, details=True, serverName="other.example"))
        assert (fixed["verify_code"], fixed["cert_valid"]) == (FINE, 1)


def test_chain_counts_with_its_earliest_end(authority: Authority, tmp_path: Path) -> None:
    tls = authority.child(tmp_path).server("127.0.0.1", days=400_000.5)
    with serve_tcp(silent, tls=tls) as server:
        section = {"url": f"https://{server.address}/", "caFile": str(authority.ca_file)}
        found = probe(build(**section, details=True))
    assert found["cert_expire_days"] == 400_000
    assert found["chain_expire_days"] < 360_000
    assert found["verify_code"] == FINE


def test_incomplete_chain_still_has_its_days(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.child(tmp_path).issue("127.0.0.1", days=DAYS + 0.5)
    file = tmp_path / "leaf.pem"
    file.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    with serve_tcp(silent, tls=tls) as server:
        section = {"url": f"https://{server.address}/", "caFile": str(authority.ca_file)}
        found = probe(build(**section, details=True))
    assert (days_of(found), found["verify_code"]) == (DAYS, UNKNOWN_LEAF_ISSUER)


def test_self_signed_certificate_has_its_days(authority: Authority, tmp_path: Path) -> None:
    with serve_tcp(silent, tls=authority.self_signed(tmp_path)) as server:
        found = probe(build(url=f"https://{server.address}/", details=True))
    assert days_of(found) > 0
    assert (found["verify_code"], found["cert_valid"]) == (SELF_SIGNED, 0)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("names", "ca", "code"),
    [
        (["127.0.0.1"], True, FINE),
        (["other.example"], True, WRONG_ADDRESS),
        (["127.0.0.1"], False, UNKNOWN_AUTHORITY),
    ],
    ids=["good", "wrong host", "unknown authority"],
)
def test_server_that_insists_on_a_client_certificate_shows_its_own(
    authority: Authority, version: ssl.TLSVersion, names: list[str], ca: bool, code: int
) -> None:
    context = authority.server(*names, days=DAYS + 0.5)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    with serve_tcp(silent, tls=context) as server:
        options = {"caFile": str(authority.ca_file)} if ca else {}
        found = probe(build(url=f"https://{server.address}/", details=True, **options))
    assert days_of(found) == DAYS
    assert (found["verify_code"], found["cert_valid"]) == (code, code == FINE)


def test_server_that_answers_once_has_its_days_and_no_verdict(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", days=DAYS + 0.5)

    def once(connection, peer: Peer) -> None:
        if peer.accepted > 1:
            hang_up(connection, peer)
            return
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            silent(wrapped, peer)

    with serve_tcp(once) as server:
        found = probe(build(url=f"https://{server.address}/", details=True))
    assert days_of(found) == DAYS
    assert "verify_code" not in found
    assert "cert_valid" not in found


def test_verdict_is_not_asked_for_where_nobody_wants_it(authority: Authority) -> None:
    with serve_tcp(silent, tls=authority.server("127.0.0.1", days=DAYS + 0.5)) as server:
        for section in ({}, {"details": True, "verify": False}):
            found = probe(build(url=f"https://{server.address}/", **section))
            assert days_of(found) == DAYS
            assert "verify_code" not in found
        assert server.accepted == 2


def test_info_describes_the_certificate(authority: Authority) -> None:
    with serve_tcp(silent, tls=authority.server("127.0.0.1", "box.example")) as server:
        found = probe(build(url=f"https://{server.address}/", details=True))
    info = next(name for name in found if name.startswith("cert_info"))
    assert found[info] == 1
    assert "{subject=O=trustme" in info
    assert ",issuer=O=trustme" in info
    assert re.search(",serial=[0-9a-f]{8,40},sans=127.0.0.1,box.example,", info)
    assert re.search(",fingerprint_sha256=[0-9a-f]{64},key=EC P-256,tls=TLSv1.3}$", info)
    assert 0 < found["handshake_ms"] < 10_000


@pytest.mark.parametrize(
    "peer",
    [silent, trickle(b"\x16\x03\x03\x40\x00"), rubbish, hang_up, say(b"HTTP/1.1 400 Bad\r\n\r\n")],
    ids=["silent", "slow loris", "rubbish", "reset", "plain HTTP"],
)
def test_no_certificate_is_no_success_and_no_days(peer) -> None:
    with serve_tcp(peer) as server:
        begin = time.monotonic()
        assert probe(build(url=f"https://{server.address}/", timeout=SHORT_SECONDS)) == {
            "success": 0
        }
        assert time.monotonic() - begin < IN_TIME_SECONDS


def test_refused_and_unknown_hosts_are_no_success() -> None:
    with closed_port() as port:
        assert probe(build(host="127.0.0.1", port=port)) == {"success": 0}
    for name in ("nowhere.invalid", "a..b", "-"):
        assert probe(build(host=name)) == {"success": 0}


def test_urls_are_told_apart(authority: Authority) -> None:
    with closed_port() as port, serve_tcp(silent, tls=authority.server("h")) as server:
        good, bad = f"https://{server.address}", f"https://127.0.0.1:{port}"
        found = probe(build(urls=[good, bad]))
    assert found[f"success{{url={good}}}"] == 1
    assert found[f"success{{url={bad}}}"] == 0
    assert f"cert_expire_days{{url={bad}}}" not in found


def test_absent_file_of_authorities_is_named() -> None:
    with pytest.raises(TargetUnavailable, match=r"absent\.pem: no such file"):
        build(host="h", caFile="absent.pem").open()


def test_certificate_of_the_future_is_not_valid_yet(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", days=DAYS + 0.5, begin_days=1)
    with serve_tcp(silent, tls=tls) as server:
        section = {"url": f"https://{server.address}", "caFile": str(authority.ca_file)}
        found = probe(build(**section, details=True))
    assert days_of(found) == DAYS
    assert (found["verify_code"], found["cert_valid"]) == (NOT_YET_VALID, 0)
    assert found["cert_not_before"] == pytest.approx(time.time() + 86_400, abs=120)
    assert found["cert_not_after"] > found["cert_not_before"]


@pytest.mark.parametrize("zone", ["UTC+12", "UTC-14"])
def test_days_do_not_depend_on_the_time_zone(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            tls = authority.server("127.0.0.1", days=DAYS + 0.1)
            with serve_tcp(silent, tls=tls) as server:
                assert days_of(probe(build(url=f"https://{server.address}"))) == DAYS
    finally:
        time.tzset()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_devices_of_old_still_answer(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", days=DAYS + 0.5)
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1
    with serve_tcp(silent, tls=tls) as server:
        found = probe(build(url=f"https://{server.address}", details=True))
    assert days_of(found) == DAYS
    assert any("tls=TLSv1}" in name for name in found)


def test_server_that_prefers_to_be_anonymous_shows_its_certificate(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", days=DAYS + 0.5)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("aNULL:ALL:@SECLEVEL=0")
    tls.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    with serve_tcp(silent, tls=tls) as server:
        assert days_of(probe(build(url=f"https://{server.address}"))) == DAYS


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"host": "localhost"}, "localhost"),
        ({"host": "127.0.0.1"}, None),
        ({"host": "127.0.0.1", "serverName": "box.example"}, "box.example"),
    ],
)
def test_server_is_asked_for_by_name(
    authority: Authority, section: dict[str, object], name: str | None
) -> None:
    asked: list[str | None] = []
    tls = authority.server("localhost")
    tls.sni_callback = lambda sock, wanted, context: asked.append(wanted)
    with serve_tcp(silent, tls=tls) as server:
        assert probe(build(**section, port=server.port))["success"] == 1
    assert asked == [name]


@pytest.mark.integration
def test_openssl_server_that_insists_on_a_client_certificate(pem: Path, tmp_path: Path) -> None:
    program = find_program("openssl", "openssl")
    port = free_port()
    command = [program, "s_server", "-accept", str(port), "-cert", str(pem), "-key", str(pem)]
    with run_daemon([*command, "-Verify", "2", "-tls1_2", "-verify_return_error"], tmp_path, port):
        assert days_of(probe(build(host="localhost", port=port))) == DAYS - 1


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "url"),
        ({"url": "gopher://h/"}, "url"),
        ({"host": "h", "serverName": "a..b"}, "serverName"),
        ({"host": "h", "serverName": "a\0b"}, "serverName"),
        ({"urls": ["https://h/", "h"]}, "urls[1]"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**section)
    assert caught.value.key == key
