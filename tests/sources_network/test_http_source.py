"""`Http` against real servers, good and bad."""

import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from pollect.api import ConfigError
from pollect.testing import HttpRequest, HttpResponse, build_source, serve_http
from pollect_sources_network.http.source import HttpSource, parse_statuses
from tests.simulators.certificates import Authority
from tests.simulators.tcp import (
    IN_TIME_SECONDS,
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
from tests.sources_network.samples import probe

SHORT_SECONDS, PATIENT_SECONDS = 0.4, 30.0


def seconds_for(*codes: int) -> float:
    """Return a timeout for a peer that breaks: short where only that ends the probe."""
    return SHORT_SECONDS if codes == (4,) else PATIENT_SECONDS


def test_one_url_gives_the_time_in_milliseconds_without_a_label() -> None:
    def slow(request: HttpRequest) -> HttpResponse:
        time.sleep(0.05)
        return HttpResponse("fine")

    with serve_http({"/": slow}) as server:
        found = probe(build_source({"url": server.url + "/"}, HttpSource))
    assert found.keys() == {"", "success"}
    assert 50 <= found[""] < 5000
    assert found["success"] == 1


def test_a_list_gives_every_url_its_label_even_if_it_is_one() -> None:
    with serve_http({"/": "fine"}) as server:
        url = server.url + "/"
        assert probe(build_source({"url": [url]}, HttpSource)).keys() == {
            f"{{url={url}}}",
            f"success{{url={url}}}",
        }


def test_label_is_the_configured_text_without_user_information() -> None:
    with serve_http({"/": "fine"}) as server:
        url = server.url.replace("//", "//admin:hunter2@") + "/?q=1"
        found = probe(build_source({"url": [url]}, HttpSource))
    assert f"success{{url={server.url.replace('//', '//***@')}/?q=1}}" in found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        (silent, 4),
        (trickle(b"HTTP/1.1 200 OK\r\n"), 4),
        (half_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), 4),
        (rubbish, 2),
        (hang_up, 3),
    ],
    ids=["silent", "slow loris", "half-open", "rubbish", "reset"],
)
def test_failure_is_the_time_limit_in_milliseconds_and_no_success(peer, code: int) -> None:
    with serve_tcp(peer) as server:
        seconds = seconds_for(code)
        section = {"url": f"http://{server.address}/", "timeout": seconds, "details": True}
        found = probe(build_source(section, HttpSource))
    assert found[""] == seconds * 1000
    assert (found["success"], found["result_code"], found["status_code"]) == (0, code, 0)


def test_refused_unknown_and_tls_failures_are_told_apart(authority: Authority) -> None:
    with (
        closed_port() as port,
        serve_http({"/": "fine"}, tls=authority.server("127.0.0.1")) as server,
    ):
        urls = [f"http://127.0.0.1:{port}/", "http://nowhere.invalid/", server.url]
        found = probe(build_source({"url": urls, "details": True}, HttpSource))
    assert [found[f"result_code{{url={url}}}"] for url in urls] == [3, 5, 7]
    assert [found[f"{{url={url}}}"] for url in urls] == [10_000] * 3


@pytest.mark.parametrize(
    ("peer", "codes"),
    [
        (silent, {4}),
        (trickle(b"\x16\x03\x03\x40\x00"), {4}),
        (half_answer(b"\x16\x03\x03\x00\x7a\x02"), {4}),
        (rubbish, {7}),
        (hang_up, {3, 7}),
    ],
    ids=["silent", "slow loris", "half-open", "rubbish", "reset"],
)
def test_a_broken_handshake_is_told_from_a_broken_answer(peer, codes: set[int]) -> None:
    with serve_tcp(peer) as server:
        seconds = seconds_for(*codes)
        section = {"url": f"https://{server.address}/", "timeout": seconds, "details": True}
        found = probe(build_source(section, HttpSource))
    assert found["success"] == 0
    assert found["result_code"] in codes


@pytest.mark.parametrize(
    ("status", "wanted", "success"),
    [
        (200, None, 1),
        (204, None, 1),
        (500, None, 0),
        (200, 204, 0),
        (404, 404, 1),
        (302, [200, "3xx"], 1),
        (301, "3XX", 1),
    ],
)
def test_status_decides_about_success(status: int, wanted, success: int) -> None:
    with serve_http({"/": HttpResponse(status=status)}) as server:
        section = {"url": server.url, "statusCode": wanted, "details": True}
        found = probe(build_source(section, HttpSource))
    assert found["success"] == success
    assert found["status_code"] == status
    assert found["result_code"] == (0 if success else 6)


def test_reason_of_a_failure_is_told_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = iter([200, 503, 503, 404, 503, 200, 200, 503])

    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("fine", next(answers))

    with serve_http({"/": page}) as server:
        source = build_source({"url": server.url + "/?token=hunter2"}, HttpSource)
        for _ in range(8):
            probe(source)
    where = f"{server.url}/?token=***"
    assert caplog.messages == [
        f"{where}: status 503, expected 2xx",
        f"{where}: status 404, expected 2xx",
        f"{where}: works again",
        f"{where}: status 503, expected 2xx",
    ]


def test_reasons_name_what_is_wrong_without_secrets(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with closed_port() as port, serve_tcp(silent) as quiet, serve_http({"/": "fine"}) as fine:
        with serve_http({"/": "fine"}, tls=authority.server("127.0.0.1")) as server:
            user = "user:hunter2@127.0.0.1"
            urls = [f"http://{user}:{port}/?token=hunter3", "http://nowhere.invalid/"]
            urls += [f"https://127.0.0.1:{server.port}/", f"{fine.url}/"]
            for section in (
                {"url": urls, "match": "dead|alive"},
                {"url": f"http://{user}:{quiet.port}/", "timeout": SHORT_SECONDS},
            ):
                source = build_source(section, HttpSource)
                for _ in range(2):
                    probe(source)
    refused, unknown, untrusted, mismatch, timed_out = caplog.messages
    assert refused == f"http://***@127.0.0.1:{port}/?token=***: Connection refused"
    assert timed_out.startswith(f"http://***@127.0.0.1:{quiet.port}/: no answer within 0.4")
    assert unknown.startswith("http://nowhere.invalid/: ")
    assert untrusted.startswith(f"https://127.0.0.1:{server.port}/: TLS failed: ")
    assert mismatch == f"{fine.url}/: the body is not as `match` asks for"


def test_urls_that_differ_in_their_secrets_have_their_own_troubles(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("", 200 if request.query["token"] == "good" else 403)

    with serve_http({"/": page}) as server:
        urls = [f"{server.url}/?token=good", f"{server.url}/?token=bad"]
        source = build_source({"url": urls}, HttpSource)
        for _ in range(3):
            probe(source)
    assert caplog.messages == [f"{server.url}/?token=***: status 403, expected 2xx"]


def test_redirects_are_followed_counted_and_limited() -> None:
    pages: dict[str, object] = {
        "/": HttpResponse(status=301, headers={"Location": "/end"}),
        "/end": "fine",
        "/loop": HttpResponse(status=302, headers={"Location": "/loop"}),
    }
    with serve_http(pages) as server:
        found = probe(build_source({"url": server.url, "details": True}, HttpSource))
        assert (found["success"], found["redirects"]) == (1, 1)
        section = {"url": server.url + "/loop", "details": True}
        found = probe(build_source(section, HttpSource))
        assert (found["success"], found[""]) == (0, 10_000)
        section = {"url": server.url, "followRedirects": False, "statusCode": 301}
        assert probe(build_source(section, HttpSource))["success"] == 1
        assert len([request for request in server.requests if request.path == "/loop"]) == 31


def test_details_describe_the_answer_and_its_phases(authority: Authority) -> None:
    def slow(request: HttpRequest) -> HttpResponse:
        time.sleep(0.1)
        modified = "Thu, 01 Jan 1970 00:01:40 GMT"
        return HttpResponse("twelve bytes", headers={"Last-Modified": modified})

    with serve_http({"/": slow}, tls=authority.server("127.0.0.1", days=30)) as server:
        section = {"url": server.url, "details": True, "caFile": str(authority.ca_file)}
        found = probe(build_source(section, HttpSource))
    phases = {name: value for name, value in found.items() if name.startswith("phase_seconds")}
    assert len(phases) == 5
    assert phases["phase_seconds{phase=processing}"] >= 0.1
    assert phases["phase_seconds{phase=tls}"] > 0
    assert 1000 * sum(phases.values()) <= found[""]
    assert found["body_bytes"] == found["content_length"] == 12
    assert found["http_version"] == 1.1
    assert found["ssl"] == found["tls_version_info{version=TLS 1.3}"] == 1
    assert found["ip_protocol"] == 4
    assert found["last_modified"] == 100
    assert found["ssl_earliest_cert_expiry"] == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_an_answer_without_a_length_or_a_date_says_so() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLast-Modified: soon\r\n\r\n"
    with serve_tcp(say(answer + b"4\r\nfine\r\n0\r\n\r\n")) as server:
        section = {"url": f"http://{server.address}/", "details": True}
        found = probe(build_source(section, HttpSource))
    assert (found["success"], found["content_length"], found["body_bytes"]) == (1, -1, 4)
    assert "last_modified" not in found


def test_options_of_tls_decide_who_is_trusted_and_who_we_are(
    authority: Authority, tmp_path: Path
) -> None:
    def code(**options: object) -> float:
        section = {"url": server.url, "details": True, **options}
        return probe(build_source(section, HttpSource))["result_code"]

    tls = authority.server("other.example")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.ca_file)
    own = authority.issue("probe@example.org")
    both, certificate, key = (tmp_path / name for name in ("both.pem", "cert.pem", "key.pem"))
    own.private_key_and_cert_chain_pem.write_to_path(both)
    own.private_key_pem.write_to_path(key)
    own.cert_chain_pems[0].write_to_path(certificate)
    ours = {"clientCert": str(certificate), "clientKey": str(key)}
    trusted = {"caFile": str(authority.ca_file)}
    with serve_http({"/": "fine"}, tls=tls) as server:
        assert code(**trusted, **ours, serverName="other.example") == 0
        assert code(**trusted, clientCert=str(both), serverName="other.example") == 0
        assert code(**ours, verify=False) == 0
        assert code(**ours, serverName="other.example") == 7, "no authority vouches for the server"
        assert code(**trusted, **ours) == 7, "it is another server"
        assert code(**trusted, serverName="other.example") != 0, "the server wants to know us"


@pytest.mark.parametrize(
    ("options", "success"),
    [
        ({"match": "fi+ne"}, 1),
        ({"match": "^bad"}, 0),
        ({"notMatch": "error"}, 1),
        ({"notMatch": "fine"}, 0),
    ],
)
def test_body_is_matched(options: dict[str, str], success: int) -> None:
    with serve_http({"/": "all is fine"}) as server:
        section = {"url": server.url, "details": True, **options}
        found = probe(build_source(section, HttpSource))
    assert found["success"] == 1 - found["failed_due_to_regex"] == success
    assert found["result_code"] == (0 if success else 1)


def test_slow_urls_are_waited_for_side_by_side() -> None:
    together = threading.Barrier(6)

    def answer_together(request: HttpRequest) -> HttpResponse:
        together.wait(PATIENT_SECONDS)
        return HttpResponse("fine")

    with serve_http({"*": answer_together}) as server:
        urls = [f"{server.url}/{number}" for number in range(6)]
        found = probe(build_source({"url": urls, "timeout": PATIENT_SECONDS}, HttpSource))
    assert [found[f"success{{url={url}}}"] for url in urls] == [1] * 6


def test_engine_leaves_room_to_report_the_failure() -> None:
    source = build_source({"url": ["http://a/", "http://b/"], "parallel": 1}, HttpSource)
    assert source.deadline_seconds() > 20


def test_every_probe_connects_anew_and_forgets_cookies() -> None:
    page = HttpResponse("fine", headers={"Set-Cookie": "visits=1"})
    with serve_http({"/": page}) as server:
        source = build_source({"url": server.url, "details": True}, HttpSource)
        for _ in range(2):
            assert probe(source)["phase_seconds{phase=connect}"] > 0
        assert "Cookie" not in server.requests[1].headers


@pytest.mark.parametrize(("version", "success"), [(4, 1), ("4", 1), (6, 0), ("any", 1)])
def test_version_of_ip_can_be_chosen(version: object, success: int) -> None:
    with serve_http({"/": "fine"}) as server:
        section = {"url": f"http://localhost:{server.port}/", "ipProtocol": version}
        assert probe(build_source(section, HttpSource))["success"] == success


def test_request_is_as_configured() -> None:
    with serve_http({"/": "fine"}) as server:
        section = {
            "url": server.url,
            "method": "POST",
            "body": "ping",
            "headers": {"X-Probe": "yes"},
            "basicAuth": {"username": "a", "password": "b"},
        }
        assert probe(build_source(section, HttpSource))["success"] == 1
        request = server.requests[0]
    assert (request.method, request.body, request.headers["X-Probe"]) == ("POST", b"ping", "yes")
    assert request.headers["Authorization"] == "Basic YTpi"


def test_credentials_of_a_netrc_are_used_as_in_1x(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(file))
    with serve_http({"/": "fine"}) as server:
        for section in ({}, {"proxy": ""}):
            assert probe(build_source({"url": server.url, **section}, HttpSource))["success"] == 1
        section = {"url": server.url, "bearerToken": "t"}
        assert probe(build_source(section, HttpSource))["success"] == 1
        sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Basic YTpi", "Basic YTpi", "Bearer t"]


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": 50, "connectTimeout": SHORT_SECONDS},
        {"timeout": 50, "readTimeout": SHORT_SECONDS},
        {"timeout": 50, "totalTimeout": SHORT_SECONDS},
        {"timeout": SHORT_SECONDS, "totalTimeout": 50},
    ],
    ids=["connect", "read", "total", "each"],
)
def test_limits_of_connecting_reading_and_the_whole_are_apart(limits: dict[str, float]) -> None:
    with contextlib.ExitStack() as stack:
        if "connectTimeout" in limits:
            port = stack.enter_context(full_backlog())
        else:
            port = stack.enter_context(serve_tcp(silent)).port
        section = {"url": f"http://127.0.0.1:{port}/", "details": True, **limits}
        begin = time.monotonic()
        found = probe(build_source(section, HttpSource))
        assert time.monotonic() - begin < IN_TIME_SECONDS
    assert found["result_code"] == 4
    assert found[""] == limits["timeout"] * 1000


def test_a_longer_total_lets_a_steady_answer_be_slow() -> None:
    def steady(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n")
        for _ in range(24):
            peer.over.wait(0.05)
            connection.sendall(b".")

    with serve_tcp(steady) as server:
        section = {"url": f"http://{server.address}/", "timeout": SHORT_SECONDS}
        assert probe(build_source(section, HttpSource))["success"] == 0
        # For each byte 20 times what it needs, and less than all of them need.
        section |= {"timeout": 1, "totalTimeout": 50}
        source = build_source(section, HttpSource)
        found = probe(source)
        assert source.deadline_seconds() > 50
    assert found["success"] == 1
    assert found[""] > 1000


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}], ids=["", "chunked"])
def test_an_endless_body_is_cut_off(headers: dict[str, str]) -> None:
    def endless(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode())
        while not peer.over.is_set():
            connection.sendall((b"400\r\n" if headers else b"") + bytes(1024) + b"\r\n")

    with serve_tcp(endless) as server:
        section = {"url": f"http://{server.address}/", "maxBodySize": 100_000, "details": True}
        found = probe(build_source(section, HttpSource))
    assert (found["success"], found["result_code"]) == (0, 2)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"url": "example.org"}, "url"),
        ({"url": []}, "url"),
        ({"url": "http://h/", "statusCode": "2x"}, "statusCode"),
        ({"url": "http://h/", "match": "("}, "match"),
        ({"url": "http://h/", "notMatch": "["}, "notMatch"),
    ],
)
def test_mistakes_are_named(section, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source(section, HttpSource)
    assert caught.value.key == key


def test_statuses_are_read_as_numbers_and_hundreds() -> None:
    assert parse_statuses((204, "404", "3xx")) == {204, 404, *range(300, 400)}


def test_sources_share_the_statuses_that_they_want() -> None:
    """With 2,000 sources the numbers of `2xx` took 11 MB."""
    first, second = (parse_statuses(("2xx", number)) for number in (404, 404))
    assert first is second


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunter2@127.0.0.1:{port}",
        "http://user:hun/ter2@127.0.0.1:{port}",
        "user:hunter2@127.0.0.1:{port}",
        "http://user:hunter2@[bad",
        "ftp://user:hunter2@127.0.0.1:{port}",
    ],
)
def test_password_of_the_proxy_is_never_shown(proxy: str, caplog: pytest.LogCaptureFixture) -> None:
    with closed_port() as port, serve_http({"/": "fine"}) as server:
        section = {"url": server.url, "proxy": proxy.format(port=port)}
        source = build_source(section, HttpSource)
        assert probe(source)["success"] == 0
    (message,) = caplog.messages
    for text in (message, repr(source.config), repr(vars(source))):
        assert "hun" not in text
        assert "ter2" not in text


def test_proxy_passes_its_password_and_an_empty_one_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[str | None] = []

    def proxy(request: HttpRequest) -> HttpResponse:
        sent.append(request.headers["Proxy-Authorization"])
        return HttpResponse("passed on")

    with serve_http(proxy) as middle, serve_http({"/": "direct"}) as server:
        by_proxy = middle.url.replace("//", "//user:hunter2@")
        for section in (
            {"proxy": by_proxy, "match": "passed on"},
            {"proxy": "", "match": "direct"},
        ):
            source = build_source({"url": f"{server.url}/", **section}, HttpSource)
            with monkeypatch.context() as patch:
                patch.setenv("http_proxy", by_proxy)
                patch.delenv("no_proxy", raising=False)
                assert probe(source)["success"] == 1
    assert sent == ["Basic dXNlcjpodW50ZXIy"]
