"""The shared HTTP sender: every answer becomes the right error, in time."""

import base64
import email.utils
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from pollect.api import ConfigError, Retryable, Secret
from pollect.engine.clock import SystemClock
from pollect.support.options import ClientTls
from pollect.testing import FakeClock
from pollect_writers.http import (
    Answer,
    Endpoint,
    HttpRefused,
    HttpSender,
    build_authorization,
    send_parts,
)
from tests.simulators import web
from tests.simulators.certificates import Authority
from tests.simulators.tcp import IN_TIME_SECONDS, Peer, serve_tcp
from tests.simulators.web import serve_http


def build_sender(url: str, clock: FakeClock | None = None, **options: object) -> HttpSender:
    tls = {name: options.pop(name) for name in ("ca", "cert", "insecure") if name in options}
    files = ClientTls(**tls).files(Path())  # type: ignore[arg-type]
    endpoint = Endpoint(url, **{"timeout_seconds": 5.0, "tls": files, **options})  # type: ignore[arg-type]
    return HttpSender(endpoint, clock=clock or FakeClock())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_busy_server_means_try_again(status: int) -> None:
    with serve_http({"/": web.Answer("come back", status)}) as server:
        sender = build_sender(server.url + "/")
        with pytest.raises(Retryable, match=f"answered {status}: come back") as caught:
            sender.post(b"x")
        sender.close()
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 422])
def test_refusal_is_final_unless_the_writer_says_otherwise(status: int) -> None:
    with serve_http({"/": web.Answer("no", status)}) as server:
        sender = build_sender(server.url + "/")
        with pytest.raises(HttpRefused) as caught:
            sender.post(b"x")
        sender.close()
        patient = build_sender(server.url + "/", retried_statuses=frozenset({status}))
        with pytest.raises(Retryable):
            patient.post(b"x")
        patient.close()
    assert caught.value.answer == Answer(status, b"no")


def test_retry_after_is_understood_in_seconds_and_as_a_date() -> None:
    clock = FakeClock(time=1_700_000_000)
    past, future = (email.utils.formatdate(moment, usegmt=True) for moment in (1e9, 1_700_000_060))
    odd = ["soon", "-5", "\u00b2", "", "Fri, 99 Xxx 9999999 99:99:99 GMT"]
    waits = ["17", future, past, *odd]

    def busy(request: web.Request) -> web.Answer:
        return web.Answer("", 503, {"Retry-After": waits[len(server.requests) - 1]})

    with serve_http({"/": busy}) as server:
        sender = build_sender(server.url + "/", clock)
        found = []
        for _ in waits:
            with pytest.raises(Retryable) as caught:
                sender.post(b"x")
            found.append(caught.value.retry_after)
        sender.close()
    assert found == [17.0, 60.0, 0.0, *[None] * len(odd)]


def test_server_that_is_away_means_try_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Retryable, match="Connection refused"):
        build_sender(f"http://127.0.0.1:{port}/").post(b"x")


def hang(connection: socket.socket, peer: Peer) -> None:
    peer.over.wait(30)


def talk_rubbish(connection: socket.socket, peer: Peer) -> None:
    connection.recv(65536)
    connection.sendall(b"hello?\r\n\r\n")


def drip(connection: socket.socket, peer: Peer) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not peer.over.wait(0.02):
        connection.sendall(b".")


@pytest.mark.parametrize("behaviour", [hang, talk_rubbish, drip])
def test_peer_that_misbehaves_costs_the_timeout_at_most(behaviour) -> None:
    with serve_tcp(behaviour) as peer:
        endpoint = Endpoint(f"http://{peer.address}/", timeout_seconds=0.2)
        sender = HttpSender(endpoint, clock=SystemClock())
        began = time.monotonic()
        with pytest.raises(Retryable):
            sender.post(b"x")
        assert time.monotonic() - began < IN_TIME_SECONDS
        sender.close()


def test_connection_is_kept_and_made_anew_when_the_server_closed_it() -> None:
    with serve_http({"/": "ok"}) as server:
        sender = build_sender(server.url + "/")
        sender.post(b"1")
        sender.post(b"2")
        sender.close()
        sender.post(b"3")
        sender.close()
    assert [request.body for request in server.requests] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("name", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_body_is_compressed_as_told(name, unpack) -> None:
    with serve_http({"/": "ok"}) as server:
        sender = build_sender(server.url + "/", compression=name, headers={"X-Own": "1"})
        sender.post(b"text " * 100)
        sender.close()
    (request,) = server.requests
    assert unpack(request.body) == b"text " * 100
    assert request.headers["Content-Encoding"] == name
    assert request.headers["X-Own"] == "1"


def test_tls_checks_the_server_and_shows_our_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own = authority.issue_cert("pollect.test")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    with serve_http({"/": "ok"}, tls=context) as server:
        sender = build_sender(
            server.url + "/", ca=str(tmp_path / "ca.pem"), cert=str(tmp_path / "own.pem")
        )
        assert sender.post(b"x").status == 200
        sender.close()
        stranger = build_sender(server.url + "/")
        with pytest.raises(Retryable, match="self-signed certificate"):
            stranger.post(b"x")
        stranger.close()
        trusting = build_sender(server.url + "/", insecure=True, cert=str(tmp_path / "own.pem"))
        assert trusting.post(b"x").status == 200
        trusting.close()


def test_certificate_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    for option in ("ca", "cert"):
        sender = build_sender("https://127.0.0.1:1/", **{option: str(tmp_path / "absent.pem")})  # type: ignore[arg-type]
        with pytest.raises(Retryable, match=r"absent\.pem: No such file"):
            sender.post(b"x")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_of_the_environment_count(
    variable: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serve_http({"/": "ok"}, tls=authority.server("127.0.0.1")) as server:
        sender = build_sender(server.url + "/")
        with pytest.raises(Retryable, match="TLS failed"):
            sender.post(b"x")
        monkeypatch.setenv(variable, str(authority.ca_file))
        sender = build_sender(server.url + "/")
        assert sender.post(b"x").status == 200
        sender.close()


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_is_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve_http({"http://backend.example/push": "ok"}) as proxy:
        monkeypatch.setenv(variable, proxy.url.replace("//", "//me:hunter2@"))
        sender = build_sender("http://backend.example/push")
        assert sender.post(b"x").status == 200
        sender.close()
        (request,) = proxy.requests
    assert request.headers["Proxy-Authorization"] == "Basic bWU6aHVudGVyMg=="


def test_errors_of_a_writer_never_show_a_password_in_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    sender = build_sender(f"http://127.0.0.1:{port}/user:pa/ss@127.0.0.1/?token=hunter2")
    with pytest.raises(Retryable) as caught:
        sender.post(b"x")
    assert "pa/ss" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "***@127.0.0.1" in str(caught.value)


def test_credentials_become_one_header() -> None:
    basic = build_authorization("me", Secret("pass"), None)["Authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"me:pass"
    token = build_authorization(None, None, Secret("abc"), scheme="Token")
    assert token == {"Authorization": "Token abc"}
    assert build_authorization(None, None, None) == {}
    with pytest.raises(ConfigError):
        build_authorization("me", None, Secret("abc"))


def test_one_bad_item_does_not_take_the_others_away() -> None:
    arrived: list[int] = []

    def send(part: Sequence[int]) -> None:
        if 37 in part:
            raise HttpRefused("37 is bad", Answer(400, b""))
        arrived.extend(part)

    lost, reason = send_parts(range(100), send, divided_statuses=frozenset({400}))
    assert (lost, reason) == (1, "37 is bad")
    assert arrived == [number for number in range(100) if number != 37]


def test_server_that_refuses_everything_is_not_asked_for_ever() -> None:
    requests = []

    def send(part: Sequence[int]) -> None:
        requests.append(part)
        raise HttpRefused("no", Answer(413, b""))

    assert send_parts(range(100_000), send)[0] == 100_000
    assert len(requests) <= 40
