"""`pollect.support.http` against real servers, well-behaved and otherwise."""

import base64
import gzip
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    Secret,
    TargetUnavailable,
)
from pollect.support.http import (
    HttpClient,
    StatusErrors,
    fetch_json,
    fetch_text,
    limit_session,
)
from pollect.testing import HttpRequest, HttpResponse, serve_http
from tests.simulators.certificates import Authority
from tests.simulators.tcp import (
    Peer,
    closed_port,
    full_backlog,
    half_answer,
    hang_up,
    rubbish,
    say,
    serve_tcp,
    silent,
    trickle,
)

SHORT_SECONDS = 0.4
#: What a request may take beyond its limit on a busy machine.
GRACE_SECONDS = 20.0


def test_text_and_json_come_back_decoded() -> None:
    pages: dict[str, object] = {
        "/text": HttpResponse(
            "Größe".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}
        ),
        "/json": '{"watts": 3.5}',
        "/zipped": HttpResponse(gzip.compress(b"[1, 2]"), headers={"Content-Encoding": "gzip"}),
    }
    with serve_http(pages) as server:
        assert fetch_text(f"{server.url}/text") == "Größe"
        assert fetch_json(f"{server.url}/json") == {"watts": 3.5}
        assert fetch_json(f"{server.url}/zipped") == [1, 2]


def test_connection_and_cookies_are_kept() -> None:
    pages: dict[str, object] = {
        "/": HttpResponse(headers={"Set-Cookie": "session=1"}),
        "/next": lambda request: HttpResponse(request.headers["Cookie"]),
    }
    with serve_http(pages) as server, HttpClient() as client:
        first = client.get(f"{server.url}/")
        second = client.get(f"{server.url}/next")
        assert second.text() == "session=1"
        assert first.exchanges[0].connect_seconds > 0
        assert second.exchanges[0].connect_seconds == 0


@pytest.mark.parametrize(
    "peer",
    [
        silent,
        trickle(b"HTTP/1.1 200 OK\r\nX-Filler: yes\r\n"),
        half_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    ],
    ids=["silent", "slow loris", "half an answer"],
)
def test_timeout_limits_the_whole_request(peer) -> None:
    with serve_tcp(peer) as server, HttpClient(timeout=SHORT_SECONDS) as client:
        begin = time.monotonic()
        with pytest.raises(TargetUnavailable, match=r"no answer within 0\.4 s"):
            client.get(f"http://{server.address}/")
        assert time.monotonic() - begin < SHORT_SECONDS + GRACE_SECONDS


def test_timeout_limits_a_trickling_body() -> None:
    def handler(connection, peer) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        trickle(b"x", 0.05)(connection, peer)

    with serve_tcp(handler) as server, HttpClient(timeout=SHORT_SECONDS) as client:
        with pytest.raises(TargetUnavailable, match="no answer within"):
            client.get(f"http://{server.address}/")


def test_timeout_limits_all_redirects_together() -> None:
    def slow_redirect(request: HttpRequest) -> HttpResponse:
        time.sleep(0.15)
        return HttpResponse(status=302, headers={"Location": "/"})

    with serve_http({"/": slow_redirect}) as server, HttpClient(timeout=SHORT_SECONDS) as client:
        with pytest.raises(TargetUnavailable, match="no answer within"):
            client.get(f"{server.url}/")


def test_timeout_limits_a_tls_handshake_nobody_answers() -> None:
    with serve_tcp(silent) as server, HttpClient(timeout=SHORT_SECONDS) as client:
        with pytest.raises(TargetUnavailable, match="no answer within"):
            client.get(f"https://{server.address}/")


def test_timeout_limits_connecting() -> None:
    with full_backlog() as port, HttpClient(timeout=SHORT_SECONDS) as client:
        with pytest.raises(TargetUnavailable, match="no answer within"):
            client.get(f"http://127.0.0.1:{port}/")


def test_address_that_swallows_everything_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_backlog() as dead, serve_http({"/": "fine"}) as server:
        stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(*stream, ("127.0.0.1", port)) for port in (dead, server.port)]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_: found)
            assert fetch_text("http://two.example/", timeout=SHORT_SECONDS) == "fine"


@pytest.mark.parametrize(
    ("peer", "error", "words"),
    [
        (hang_up, TargetUnavailable, "(?i)reset|closed"),
        (rubbish, BadResponse, "expected an HTTP answer"),
        (say(b""), TargetUnavailable, "closed connection"),
        (say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), BadResponse, "ended too early"),
        (
            say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf"),
            BadResponse,
            "decompressed",
        ),
        (
            say(b"HTTP/1.1 302 F\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n"),
            BadResponse,
            "redirected to something other",
        ),
    ],
    ids=["reset", "rubbish", "nothing", "short body", "broken gzip", "strange redirect"],
)
def test_broken_peers_give_the_right_error(peer, error, words) -> None:
    with serve_tcp(peer) as server, HttpClient(timeout=30) as client:
        with pytest.raises(error, match=words):
            client.get(f"http://{server.address}/")


def test_refused_connection_and_unknown_host_are_unavailable() -> None:
    with closed_port() as port, HttpClient(timeout=30) as client:
        with pytest.raises(TargetUnavailable, match="Connection refused"):
            client.get(f"http://127.0.0.1:{port}/")
        with pytest.raises(TargetUnavailable, match=r"nowhere\.invalid"):
            client.get("http://nowhere.invalid/")


def test_body_limit_stops_an_endless_body() -> None:
    def endless(connection, peer) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.over.is_set():
            connection.sendall(b"x" * 65536)

    with serve_tcp(endless) as server, HttpClient(max_body_bytes=200_000) as client:
        with pytest.raises(BadResponse, match="larger than 200000 bytes"):
            client.get(f"http://{server.address}/")


def test_status_decides_the_error_unless_allowed() -> None:
    pages: dict[str, object] = {"/401": HttpResponse(status=401), "/500": HttpResponse(status=500)}
    with serve_http(pages) as server, HttpClient() as client:
        with pytest.raises(AuthenticationFailed, match="status 401"):
            client.get(f"{server.url}/401")
        with pytest.raises(BadResponse, match="status 500"):
            client.get(f"{server.url}/500")
        assert client.get(f"{server.url}/500", statuses=None).status == 500


def test_a_source_says_what_a_status_means() -> None:
    def starting(text: str) -> TargetUnavailable:
        return TargetUnavailable(f"{text}, it is still starting")

    pages: dict[str, object] = {"/": HttpResponse(status=403), "/503": HttpResponse(status=503)}
    meanings: StatusErrors = {403: starting, 503: AuthenticationFailed}
    with serve_http(pages) as server, HttpClient(status_errors=meanings) as client:
        with pytest.raises(TargetUnavailable, match="status 403, it is still starting"):
            client.get(server.url)
        with pytest.raises(AuthenticationFailed, match="status 503"):
            client.get(f"{server.url}/503")


def test_rubbish_instead_of_json_is_a_bad_response() -> None:
    with (
        serve_http({"/": "<html>"}) as server,
        pytest.raises(BadResponse, match="expected JSON, got '<html>'"),
    ):
        fetch_json(f"{server.url}/")


def test_errors_show_neither_user_information_nor_query_values() -> None:
    with closed_port() as port, HttpClient() as client:
        with pytest.raises(TargetUnavailable) as caught:
            client.get(f"http://admin:hunter2@127.0.0.1:{port}/x?token=hunter3&page=")
    assert "hunter" not in str(caught.value)
    assert f"http://***@127.0.0.1:{port}/x?token=***&page=" in str(caught.value)


def test_credentials_are_sent() -> None:
    pages: dict[str, object] = {
        "/": lambda request: HttpResponse(request.headers.get("Authorization", ""))
    }
    with serve_http(pages) as server:
        assert fetch_text(f"{server.url}/", user="a", password=Secret("b")) == "Basic YTpi"
        assert fetch_text(f"{server.url}/", token=Secret("t")) == "Bearer t"
        assert fetch_text(server.url.replace("//", "//a:b@")) == "Basic YTpi"


def test_digest_authentication_answers_the_challenge() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="box", nonce="n", qop="auth"'}

    def page(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("Authorization", "")
        if not given.startswith('Digest username="reader"'):
            return HttpResponse("who?", status=401, headers=challenge)
        return HttpResponse("fine")

    with serve_http({"/": page}) as server:
        options = {"user": "reader", "password": Secret("hunter2")}
        assert fetch_text(server.url, **options, digest=True) == "fine"
        with pytest.raises(AuthenticationFailed, match="status 401"):
            fetch_text(server.url, **options)
        assert not any("hunter2" in str(request.headers) for request in server.requests)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for 127.0.0.1 and for localhost, as an operator keeps them."""
    file = tmp_path / "netrc"
    file.write_text(
        "machine 127.0.0.1 login reader password one\nmachine localhost login other password two\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("proxy", [None, ""], ids=["environment", "no proxy"])
@pytest.mark.parametrize(
    ("options", "user_info", "sent"),
    [
        ({}, "", basic("reader", "one")),
        ({"user": "a", "password": "b"}, "", basic("a", "b")),
        ({"token": "t"}, "", "Bearer t"),
        ({"headers": {"authorization": "Custom c"}}, "", "Custom c"),
        ({}, "u:p@", basic("u", "p")),
    ],
    ids=["netrc", "user", "token", "header", "URL"],
)
def test_netrc_has_the_credentials_unless_others_are_given(
    proxy: str | None, options: dict[str, Any], user_info: str, sent: str
) -> None:
    pages = {"/": HttpResponse(status=302, headers={"Location": "/next"}), "/next": "fine"}
    with serve_http(pages) as server, HttpClient(proxy=proxy, **options) as client:
        client.get(server.url.replace("//", f"//{user_info}"))
        assert [each.headers["Authorization"] for each in server.requests] == [sent, sent]


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("proxy", [None, ""], ids=["environment", "no proxy"])
def test_a_redirect_to_another_host_takes_no_credentials_along(proxy: str | None) -> None:
    with serve_http({"/next": "fine"}) as second:
        elsewhere = {"Location": f"http://localhost:{second.port}/next"}
        with (
            serve_http({"/": HttpResponse(status=302, headers=elsewhere)}) as first,
            HttpClient(proxy=proxy, token="for the first alone", ip_version=4) as client,
        ):
            client.get(first.url)
        assert second.requests[0].headers["Authorization"] == basic("other", "two")


def test_read_timeout_limits_each_wait_and_leaves_a_slow_answer_alone() -> None:
    def slow(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        for byte in b"done":
            peer.over.wait(0.2)
            connection.sendall(bytes([byte]))

    with serve_tcp(slow) as server, HttpClient(timeout=10, read_timeout=0.6) as client:
        assert client.get_text(f"http://{server.address}/") == "done"
    begin = time.monotonic()
    with serve_tcp(silent) as server, HttpClient(timeout=60, read_timeout=0.2) as client:
        with pytest.raises(TargetUnavailable, match=r"no answer within 0\.\d+ s"):
            client.get(f"http://{server.address}/")
    assert time.monotonic() - begin < GRACE_SECONDS


def test_certificate_is_verified_unless_told_otherwise(authority: Authority) -> None:
    with serve_http({"/": "fine"}, tls=authority.server("127.0.0.1")) as server:
        assert fetch_text(server.url, ca_file=authority.ca_file) == "fine"
        assert fetch_text(server.url, verify=False) == "fine"
        with pytest.raises(TargetUnavailable, match=r"TLS failed: .*(self-signed|unable to get)"):
            fetch_text(server.url)


def test_bundle_of_the_environment_is_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    with serve_http({"/": "fine"}, tls=authority.server("127.0.0.1")) as server:
        assert fetch_text(server.url) == "fine"


def test_wrong_host_and_expired_certificates_are_named(authority: Authority) -> None:
    with serve_http({"/": "fine"}, tls=authority.server("other.example")) as server:
        with pytest.raises(TargetUnavailable, match="IP address mismatch"):
            fetch_text(server.url, ca_file=authority.ca_file)
        assert (
            fetch_text(server.url, ca_file=authority.ca_file, server_name="other.example") == "fine"
        )
    with serve_http({"/": "fine"}, tls=authority.server("127.0.0.1", days=-2)) as server:
        with pytest.raises(TargetUnavailable, match="certificate has expired"):
            fetch_text(server.url, ca_file=authority.ca_file)


def test_plain_text_where_tls_is_expected_is_unavailable() -> None:
    with serve_tcp(say(b"220 hello\r\n")) as server, HttpClient(timeout=30) as client:
        with pytest.raises(TargetUnavailable, match="TLS failed: wrong version number"):
            client.get(f"https://{server.address}/")


def test_phases_are_measured_over_redirects(authority: Authority) -> None:
    def slow(request: HttpRequest) -> HttpResponse:
        time.sleep(0.1)
        return HttpResponse("done")

    pages: dict[str, object] = {
        "/": HttpResponse(status=302, headers={"Location": "/slow"}),
        "/slow": slow,
    }
    with serve_http(pages, tls=authority.server("127.0.0.1")) as server:
        with HttpClient(ca_file=authority.ca_file) as client:
            first, second = client.get(server.url).exchanges
    assert first.address == second.address == "127.0.0.1"
    assert first.tls_seconds > 0 == second.tls_seconds
    assert first.tls_version == second.tls_version
    assert first.tls_version.startswith("TLS")
    assert ssl.DER_cert_to_PEM_cert(first.certificates[0])
    assert second.processing_seconds >= 0.1


def test_empty_proxy_means_none_even_after_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: dict[str, object] = {
        "/": HttpResponse(status=302, headers={"Location": "/there"}),
        "/there": "arrived",
    }
    with closed_port() as port, serve_http(pages) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert fetch_text(server.url, proxy="") == "arrived"
        with pytest.raises(TargetUnavailable, match="Connection refused"):
            fetch_text(server.url)


def test_proxy_that_is_named_counts_for_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []

    def proxy(request: HttpRequest) -> HttpResponse:
        asked.append(request.target)
        there = request.target.endswith("/next")
        return HttpResponse(status=200 if there else 302, headers={"Location": "/next"})

    with serve_http(proxy) as server, HttpClient(proxy=server.url) as client:
        client.get("http://127.0.0.1:9/first")
    assert asked == ["http://127.0.0.1:9/first", "http://127.0.0.1:9/next"]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session as somebody else's library makes it."""
    with requests.Session() as session:
        session.verify = False
        yield session


@pytest.mark.parametrize(
    ("peer", "error", "words"),
    [
        (silent, TargetUnavailable, r"no answer within 0\.4 s"),
        (trickle(b"HTTP/1.1 200 OK\r\nX-Filler: yes\r\n"), TargetUnavailable, "no answer within"),
        (half_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), TargetUnavailable, "no"),
        (hang_up, TargetUnavailable, "reset|closed connection"),
        (rubbish, BadResponse, "expected an HTTP answer"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2000)), BadResponse, "larger than 1000 bytes"),
    ],
    ids=["silent", "slow loris", "half an answer", "reset", "rubbish", "endless"],
)
def test_session_of_a_library_gets_our_limits_and_errors(
    session: requests.Session, peer, error, words
) -> None:
    limit_session(session, lambda: SHORT_SECONDS, max_body_bytes=1000)
    with serve_tcp(peer) as server:
        begin = time.monotonic()
        with pytest.raises(error, match=words):
            session.get(f"http://{server.address}/?token=hunter2", timeout=60)
        assert time.monotonic() - begin < SHORT_SECONDS + GRACE_SECONDS


def test_session_of_a_library_has_the_seconds_of_each_request_and_judges_the_status(
    session: requests.Session, authority: Authority
) -> None:
    def slow(request: HttpRequest) -> HttpResponse:
        time.sleep(0.2)
        return HttpResponse({"code": 7}, status=500)

    limits = iter([10, 0.1])
    limit_session(session, lambda: next(limits), verify=False)
    with serve_http({"/": slow}, tls=authority.server("elsewhere")) as server:
        answer = session.get(server.url)
        assert (answer.status_code, answer.json()) == (500, {"code": 7})
        with pytest.raises(TargetUnavailable, match=r"no answer within 0\.1 s"):
            session.get(server.url)


def test_session_of_a_library_verifies_unless_told_otherwise(
    session: requests.Session, authority: Authority
) -> None:
    limit_session(session, lambda: 10)
    with serve_http({"/": ""}, tls=authority.server("127.0.0.1")) as server:
        with pytest.raises(TargetUnavailable, match="TLS failed"):
            session.get(server.url)


def test_missing_file_of_authorities_is_named(tmp_path: Path) -> None:
    with HttpClient(ca_file=tmp_path / "absent.pem") as client:
        with pytest.raises(TargetUnavailable, match=r"absent\.pem: No such file"):
            client.get("https://127.0.0.1:1/")


def test_plain_http_imports_neither_requests_nor_tls() -> None:
    code = (
        "import sys, pollect.support.http as http\n"
        "from pollect.testing import serve_http\n"
        "with http.HttpClient() as client: client.get(sys.argv[1])\n"
        "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    with serve_http({"/": ""}) as server:
        assert subprocess.run([sys.executable, "-c", code, server.url]).returncode == 0
    code = "import sys, pollect.support.http; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
