"""`Certificate` through proxies: Debian's tinyproxy, and peers that refuse or misbehave."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.api import ConfigError, Source
from pollect.testing import FakeClock, build_source
from pollect_sources_network.certificate.source import CertificateSource
from tests.simulators.certificates import Authority
from tests.simulators.tcp import (
    IN_TIME_SECONDS,
    Handler,
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
from tests.simulators.tinyproxy import Tinyproxy, run_tinyproxy
from tests.sources_network.samples import probe

DAYS = 40
GOOD = {"success": 1, "cert_expire_days": DAYS}
SHORT_SECONDS = 0.3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with serve_tcp(silent, tls=authority.server("127.0.0.1", days=DAYS + 0.5)) as peer:
        yield peer


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tinyproxy]:
    """A proxy that wants `reader` and `hunter2`."""
    folder = tmp_path_factory.mktemp("tinyproxy")
    with run_tinyproxy(folder, "BasicAuth reader hunter2") as running:
        yield running


def build(**section: object) -> Source:
    return build_source(section, CertificateSource, clock=FakeClock(time=time.time()))


@pytest.mark.integration
def test_tunnel_leads_to_the_certificate(server: Peer, tinyproxy: Tinyproxy) -> None:
    # Credentials in a URL may be escaped, and must be where they hold a colon or an at sign.
    proxy = f"http://reader:%68unter2@{tinyproxy.address}"
    found = probe(build(url=f"https://{server.address}", proxy=proxy, details=True))
    assert found["cert_expire_days"] == DAYS
    assert found["handshake_ms"] > 0
    assert found["verify_code"] > 0
    assert tinyproxy.log.read_text().count(f"CONNECT {server.address} HTTP/1.1") == 2


@pytest.mark.integration
def test_starttls_goes_through_a_tunnel(tinyproxy: Tinyproxy, tmp_path: Path) -> None:
    tls = Authority(tmp_path).server("localhost", days=DAYS + 0.5)

    def ftp(connection, peer: Peer) -> None:
        # The greeting may arrive together with the consent of the proxy.
        connection.sendall(b"220 ready\r\n")
        connection.recv(100)
        connection.sendall(b"234 go ahead\r\n")
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            silent(wrapped, peer)

    proxy = f"http://reader:hunter2@{tinyproxy.address}"
    with serve_tcp(ftp) as server:
        assert probe(build(url=f"ftp://{server.address}", proxy=proxy)) == GOOD


@pytest.mark.integration
def test_proxy_and_server_may_have_addresses_of_ipv6(tmp_path: Path) -> None:
    tls = Authority(tmp_path).server("::1", days=DAYS + 0.5)
    with (
        serve_tcp(silent, tls=tls, host="::1") as server,
        run_tinyproxy(tmp_path, host="::1") as running,
    ):
        found = probe(build(url=f"https://{server.address}", proxy=f"http://{running.address}"))
        assert f"CONNECT [::1]:{server.port}" in running.log.read_text()
    assert found == GOOD


@pytest.mark.integration
@pytest.mark.parametrize(
    ("user_info", "problem"),
    [
        ("", "asks for credentials, with status 407"),
        ("reader:hunter3@", "refuses these credentials, with status 401"),
    ],
)
def test_refused_credentials_are_named_and_not_shown(
    server: Peer,
    tinyproxy: Tinyproxy,
    caplog: pytest.LogCaptureFixture,
    user_info: str,
    problem: str,
) -> None:
    caplog.set_level("DEBUG", logger="pollect")
    section = {"url": f"https://{server.address}"}
    source = build(**section, proxy=f"http://{user_info}{tinyproxy.address}", details=True)
    assert probe(source) == {"success": 0}
    assert f"the proxy {tinyproxy.address} {problem}" in caplog.text
    encoded = base64.b64encode(b"reader:hunter3").decode()
    for text in (caplog.text, repr(source.config), repr(vars(source))):
        assert "hunter" not in text
        assert encoded not in text


@pytest.mark.integration
def test_forbidden_and_absent_servers_are_told_apart(
    server: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forbidding = tmp_path / "forbidding"
    forbidding.mkdir()
    with run_tinyproxy(forbidding, "ConnectPort 1") as running:
        section = {"url": f"https://{server.address}", "proxy": f"http://{running.address}"}
        assert probe(build(**section)) == {"success": 0}
    assert f"{running.address} forbids {server.address}, with status 403" in caplog.text
    with run_tinyproxy(tmp_path) as running, closed_port() as port:
        proxy = f"http://{running.address}"
        assert probe(build(host="127.0.0.1", port=port, proxy=proxy)) == {"success": 0}
    assert f"cannot reach 127.0.0.1:{port}: '500 Unable to connect'" in caplog.text


def test_environment_is_not_asked_for_a_proxy(
    server: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as port:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        url = f"https://{server.address}"
        for section in ({}, {"proxy": ""}):
            assert probe(build(url=url, **section)) == GOOD
        assert probe(build(url=url, proxy=f"http://127.0.0.1:{port}")) == {"success": 0}


@pytest.mark.parametrize(
    ("peer", "problem"),
    [
        (silent, "timed out"),
        (trickle(b"HTTP/1.1 200 OK\r\nX: "), "timed out"),
        (half_answer(b"HTTP/1.1 200 OK\r\n"), "timed out"),
        (half_answer(b"HTTP/1.1 200 OK\r\n\r\n"), "timed out"),
        (rubbish, "expected an HTTP answer"),
        (say(b"HTTP/1.1 OK\r\n\r\n"), "expected an HTTP answer"),
        (say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000), "the answer does not end"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n<html>"), "TLS"),
        (say(b""), "closed"),
        (hang_up, ""),
    ],
    ids=["silent", "slow loris", "half open", "no handshake", "rubbish", "no status", "endless",
         "web page", "closed", "reset"],
)  # fmt: skip
def test_broken_proxies_are_no_success_in_time(
    peer: Handler, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serve_tcp(peer) as proxy:
        begin = time.monotonic()
        section = {"host": "h.example", "proxy": f"http://u:hunter2@{proxy.address}"}
        seconds = SHORT_SECONDS if problem == "timed out" else IN_TIME_SECONDS
        assert probe(build(**section, timeout=seconds)) == {"success": 0}
        assert time.monotonic() - begin < IN_TIME_SECONDS
    assert "h.example port 443: " in caplog.text
    assert problem in caplog.text


def test_absent_and_unknown_proxies_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with closed_port() as port:
        proxy = f"http://127.0.0.1:{port}"
        assert probe(build(host="h.example", proxy=proxy)) == {"success": 0}
    assert f"the proxy 127.0.0.1:{port}: Connection refused" in caplog.text
    assert probe(build(host="h.example", proxy="http://nowhere.invalid:1")) == {"success": 0}
    assert "the proxy nowhere.invalid:1: " in caplog.text


@pytest.mark.parametrize(
    ("section", "authority"),
    [
        ({"host": "h.example"}, "h.example:443"),
        ({"host": "h.example", "port": 1}, "h.example:1"),
        ({"host": "::1"}, "[::1]:443"),
        ({"host": "bücher.example"}, "xn--bcher-kva.example:443"),
        ({"host": "h.example", "starttls": "xmpp"}, "h.example:5222"),
        ({"url": "https://h.example"}, "h.example:443"),
        ({"url": "http://h.example"}, "h.example:80"),
        ({"url": "https://h.example:8443/x"}, "h.example:8443"),
        ({"url": "https://h.example", "host": "other", "port": 9}, "h.example:443"),
        ({"url": "smtp://h.example"}, "h.example:25"),
        ({"url": "lmtp://h.example"}, "h.example:24"),
        ({"url": "imap://h.example"}, "h.example:143"),
        ({"url": "pop3://h.example"}, "h.example:110"),
        ({"url": "ftp://h.example"}, "h.example:21"),
        ({"url": "ldap://h.example"}, "h.example:389"),
        ({"url": "postgres://h.example"}, "h.example:5432"),
        ({"url": "mysql://h.example"}, "h.example:3306"),
        ({"url": "xmpp://h.example"}, "h.example:5222"),
        ({"url": "smtps://h.example"}, "h.example:465"),
        ({"url": "imaps://h.example"}, "h.example:993"),
        ({"url": "pop3s://h.example"}, "h.example:995"),
        ({"url": "ldaps://h.example"}, "h.example:636"),
    ],
)
def test_proxy_is_asked_for_the_usual_port(section: dict[str, object], authority: str) -> None:
    heard = b""

    def refuse(connection, peer: Peer) -> None:
        nonlocal heard
        while not heard.endswith(b"\r\n\r\n"):
            heard += connection.recv(1)
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    with serve_tcp(refuse) as proxy:
        assert probe(build(**section, proxy=f"http://{proxy.address}")) == {"success": 0}
    assert heard == f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "proxy", ["ftp://u:hunter2@h", "https://u:hunter2@h", "http://u:hunter2@:1", "//u:hunter2@h"]
)
def test_proxies_of_another_kind_are_refused_without_showing_the_password(proxy: str) -> None:
    with pytest.raises(ConfigError, match=r"expected (the URL of )?a proxy") as caught:
        build(host="h", proxy=proxy)
    assert caught.value.key == "proxy"
    assert "hunter2" not in str(caught.value)
