"""`Certificate` against TLS servers with every fault, and against real mail and LDAP servers."""

import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.api import ConfigError, Source, TargetUnavailable
from pollect.testing import FakeClock, build_source
from pollect_sources_network.certificate.source import CertificateSource, whole_days
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import (
    Peer,
    closed_port,
    half_answer,
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
FINE, EXPIRED, SELF_SIGNED, UNKNOWN_LEAF_ISSUER = 0, 10, 18, 20
WRONG_HOST, WRONG_ADDRESS = 62, 64


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pem(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key, certificate and chain of `localhost` in one file."""
    file = tmp_path_factory.mktemp("pem") / "server.pem"
    authority.issue(
        "localhost", "127.0.0.1", days=DAYS
    ).private_key_and_cert_chain_pem.write_to_path(file)
    return file


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
def test_server_that_insists_on_a_client_certificate_shows_its_own(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server("127.0.0.1", days=DAYS + 0.5)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    with serve_tcp(silent, tls=context) as server:
        found = probe(build(url=f"https://{server.address}/", details=True))
    assert days_of(found) == DAYS


def test_info_describes_the_certificate(authority: Authority) -> None:
    with serve_tcp(silent, tls=authority.server("127.0.0.1", "box.example")) as server:
        found = probe(build(url=f"https://{server.address}/", details=True))
    info = next(name for name in found if name.startswith("cert_info"))
    assert "sans=127.0.0.1,box.example," in info
    assert "tls=TLSv1.3" in info
    assert "issuer=O=trustme" in info


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
        assert time.monotonic() - begin < SHORT_SECONDS + 2


def test_refused_and_unknown_hosts_are_no_success() -> None:
    with closed_port() as port:
        assert probe(build(host="127.0.0.1", port=port)) == {"success": 0}
    assert probe(build(host="nowhere.invalid")) == {"success": 0}


def test_urls_are_told_apart(authority: Authority) -> None:
    with closed_port() as port, serve_tcp(silent, tls=authority.server("h")) as server:
        good, bad = f"https://{server.address}", f"https://127.0.0.1:{port}"
        found = probe(build(urls=[good, bad]))
    assert found[f"success{{url={good}}}"] == 1
    assert found[f"success{{url={bad}}}"] == 0
    assert f"cert_expire_days{{url={bad}}}" not in found


def test_file_is_read_in_pem_and_der(pem: Path, tmp_path: Path) -> None:
    found = probe(build(file=str(pem), details=True))
    assert days_of(found) == DAYS - 1
    der = tmp_path / "server.der"
    block = (
        pem.read_text()
        .split("-----END PRIVATE KEY-----")[-1]
        .split("-----END EC PRIVATE KEY-----")[-1]
    )
    first = block[: block.index("-----END CERTIFICATE-----") + 25].strip()
    der.write_bytes(ssl.PEM_cert_to_DER_cert(first))
    assert days_of(probe(build(file=str(der)))) == DAYS - 1
    assert probe(build(file=str(tmp_path / "absent.pem"))) == {"success": 0}


def test_absent_file_of_authorities_is_named() -> None:
    with pytest.raises(TargetUnavailable, match=r"absent\.pem: no such file"):
        build(host="h", caFile="absent.pem").open()


def starttls_server(*steps: tuple[bytes, bytes], tls: ssl.SSLContext):
    """Say each step's first part, wait for its second, then shake hands."""

    def handler(connection, peer: Peer) -> None:
        for words, wanted in steps:
            connection.sendall(words)
            heard = b""
            while wanted not in heard:
                heard += connection.recv(1)
        connection.sendall(b"S" if steps[-1][1].endswith(b"\x2f") else b"234 go ahead\r\n")
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            silent(wrapped, peer)

    return handler


def test_ftp_and_postgres_are_asked_for_tls(authority: Authority) -> None:
    tls = authority.server("localhost", days=DAYS + 0.5)
    ftp = starttls_server((b"220-Hello\r\n220 ready\r\n", b"AUTH TLS\r\n"), tls=tls)
    with serve_tcp(ftp) as server:
        assert days_of(probe(build(url=f"ftp://{server.address}"))) == DAYS
    postgres = starttls_server((b"", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), tls=tls)
    with serve_tcp(postgres) as server:
        assert days_of(probe(build(url=f"postgres://{server.address}"))) == DAYS


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3", "ldap", "ftp", "postgres"])
@pytest.mark.parametrize(
    "peer",
    [silent, trickle(b"x"), rubbish, hang_up, half_answer(b"220")],
    ids=["silent", "slow loris", "rubbish", "reset", "half open"],
)
def test_broken_dialogues_end_in_time(protocol: str, peer) -> None:
    with serve_tcp(peer) as server:
        section = {"url": f"{protocol}://{server.address}", "timeout": 0.15}
        assert probe(build(**section)) == {"success": 0}


@pytest.fixture(scope="module")
def dovecot(pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    program = find_program("dovecot", "dovecot-imapd and dovecot-pop3d")
    folder = tmp_path_factory.mktemp("dovecot")
    folder.chmod(0o755)
    ports = {"imap": free_port(), "pop3": free_port()}
    (folder / "dovecot.conf").write_text(
        f"""
protocols = imap pop3
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = yes
ssl_cert = <{pem}
ssl_key = <{pem}
listen = 127.0.0.1
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports["imap"]}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {ports["pop3"]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = password=x
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}
}}
"""
    )
    with run_daemon([program, "-F", "-c", str(folder / "dovecot.conf")], folder, *ports.values()):
        yield ports


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_starttls_of_dovecot(dovecot: dict[str, int], protocol: str) -> None:
    found = probe(build(url=f"{protocol}://localhost:{dovecot[protocol]}"))
    assert days_of(found) == DAYS - 1


@pytest.mark.integration
def test_starttls_of_an_openldap_server(pem: Path, tmp_path: Path, authority: Authority) -> None:
    program = find_program("slapd", "slapd")
    port = free_port()
    (tmp_path / "slapd.conf").write_text(
        f"pidfile {tmp_path}/pid\n"
        f"TLSCertificateFile {pem}\nTLSCertificateKeyFile {pem}\n"
        f"TLSCACertificateFile {authority.ca_file}\n"
    )
    command = [
        program,
        "-h",
        f"ldap://127.0.0.1:{port}",
        "-f",
        str(tmp_path / "slapd.conf"),
        "-d",
        "0",
    ]
    with run_daemon(command, tmp_path, port):
        found = probe(build(url=f"ldap://localhost:{port}"))
    assert days_of(found) == DAYS - 1


def test_starttls_of_an_smtp_server(pem: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    with run_daemon([*command, "--tlscert", str(pem), "--tlskey", str(pem)], tmp_path, port):
        found = probe(build(host="localhost", port=port, starttls="smtp"))
    assert days_of(found) == DAYS - 1


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
        ({"urls": ["https://h/", "h"]}, "urls[1]"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**section)
    assert caught.value.key == key
