"""Proxies: which one is taken, and tunnels through real ones."""

from pathlib import Path

import pytest

from pollect.api import AuthenticationFailed, ConfigError, TargetUnavailable
from pollect.support.http import HttpClient
from pollect.support.proxies import ProxyChoice, parse_proxy
from pollect.testing import serve_http
from tests.simulators.certificates import Authority
from tests.simulators.proxies import run_microsocks, serve_tls_proxy
from tests.simulators.tcp import closed_port, rubbish, serve_tcp

ENVIRONMENT = {
    "http_proxy": "http://plain:1",
    "HTTPS_PROXY": "secure:2",
    "all_proxy": "http://any:3",
}


@pytest.mark.parametrize(
    ("environ", "scheme", "found"),
    [
        (ENVIRONMENT, "http", ("plain", 1)),
        (ENVIRONMENT, "https", ("secure", 2)),
        ({"ALL_PROXY": "socks5h://any"}, "http", ("any", 1080)),
        ({"all_proxy": "http://any"}, "https", ("any", 80)),
        ({"http_proxy": "http://lower:1", "HTTP_PROXY": "http://upper:2"}, "http", ("lower", 1)),
        ({"https_proxy": "http://secure"}, "http", None),
        ({}, "http", None),
    ],
)
def test_environment_names_the_proxy(environ, scheme, found) -> None:
    proxy = ProxyChoice(None, environ).find(scheme, "target.example", 80)
    assert (proxy and (proxy.host, proxy.port)) == found
    assert ProxyChoice("", environ).find(scheme, "target.example", 80) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("*", "a.example", 80, True),
        ("example", "a.example", 80, True),
        (".a.example", "a.example", 80, True),
        ("a.example", "ba.example", 80, False),
        ("A.Example", "b.a.example.", 80, True),
        ("a.example:8080", "a.example", 8080, True),
        ("a.example:8080", "a.example", 80, False),
        ("x, 10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("0.0.1", "127.0.0.1", 80, False),
        ("127.0.0.1:81", "127.0.0.1", 81, True),
        ("fd00::/8", "fd00::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("", "a.example", 80, False),
    ],
)
def test_no_proxy_exempts_names_addresses_and_nets(no_proxy, host, port, exempt) -> None:
    choice = ProxyChoice(None, {"http_proxy": "http://proxy:1", "NO_PROXY": no_proxy})
    assert (choice.find("http", host, port) is None) == exempt


def test_proxy_is_read_with_its_credentials_and_shows_none() -> None:
    proxy = parse_proxy("http://us%40er:pa%2Fss@host:8")
    assert (proxy.user, proxy.password, proxy.port) == ("us@er", "pa/ss", 8)
    assert "pa/ss" not in f"{proxy} {proxy!r}"
    with pytest.raises(ConfigError) as caught:
        parse_proxy("ftp://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_carries_plain_requests_and_tls(
    scheme: str, authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server("127.0.0.1", "localhost")
    with (
        run_microsocks(tmp_path, "-u", "me", "-P", "hunter2") as port,
        serve_http({"/": "plain"}) as plain,
        serve_http({"/": "secret"}, tls=tls) as secret,
    ):
        proxy = f"{scheme}://me:hunter2@127.0.0.1:{port}"
        with HttpClient(proxy=proxy, ca_file=authority.ca_file, timeout=30) as client:
            assert client.get_text(plain.url) == "plain"
            assert client.get_text(f"http://localhost:{plain.port}/") == "plain"
            assert client.get_text(secret.url) == "secret"
            with closed_port() as closed, pytest.raises(TargetUnavailable, match="refused"):
                client.get(f"http://127.0.0.1:{closed}/")
        for wrong in ("me:hunter3@", ""):
            with HttpClient(proxy=f"{scheme}://{wrong}127.0.0.1:{port}", timeout=30) as client:
                with pytest.raises(AuthenticationFailed, match="credentials") as caught:
                    client.get(plain.url)
                assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h", "https", "http"])
def test_proxy_that_is_none_or_away_is_named(scheme: str) -> None:
    with closed_port() as port:
        with HttpClient(proxy=f"{scheme}://127.0.0.1:{port}", timeout=30) as client:
            with pytest.raises(TargetUnavailable, match=r"the proxy 127\.0\.0\.1.*refused"):
                client.get("http://127.0.0.1:9/")
    with serve_tcp(rubbish) as peer:
        with HttpClient(proxy=f"{scheme}://{peer.address}", timeout=30) as client:
            with pytest.raises(Exception, match="http") as caught:
                client.get("https://127.0.0.1:9/")
    assert type(caught.value).__name__ in ("BadResponse", "TargetUnavailable")


def test_proxy_behind_tls_carries_plain_requests_and_tls_within_tls(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    with (
        serve_tls_proxy(authority.server("127.0.0.1")) as proxy,
        serve_http({"/": "plain"}) as plain,
        serve_http({"/": "x" * 300_000}, tls=tls) as secret,
        HttpClient(proxy=proxy.url, ca_file=authority.ca_file, timeout=30) as client,
    ):
        assert client.get_text(plain.url) == "plain"
        answer = client.get(secret.url)
        assert len(answer.body) == 300_000
        assert answer.exchanges[0].certificates
        assert client.get(secret.url).exchanges[0].connect_seconds == 0, "the tunnel is kept"
        with HttpClient(proxy=proxy.url, timeout=30) as stranger:
            with pytest.raises(TargetUnavailable, match="TLS failed"):
                stranger.get(secret.url)
