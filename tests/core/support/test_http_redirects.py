"""Redirects: where they lead, and what must not go there."""

import contextlib
from collections.abc import Iterator

import pytest
import requests

from pollect.api import BadResponse
from pollect.support.http import HttpClient, limit_session
from pollect.support.redirects import redirects_only_to
from pollect.testing import HttpRequest, HttpResponse, serve_http
from tests.simulators.certificates import Authority

SECRETS = {"X-Api-Key": "hunter2", "Cookie": "session=hunter2", "PRIVATE-TOKEN": "hunter2"}


def seen_elsewhere(request: HttpRequest) -> str:
    return " ".join(f"{name}: {value}" for name, value in request.headers.items())


@contextlib.contextmanager
def redirecting(location: str, status: int = 302) -> Iterator[str]:
    with serve_http({"/": HttpResponse(status=status, headers={"Location": location})}) as server:
        yield server.url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["another port", "another host"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_headers_of_the_config_stay_with_their_origin(host: str, status: int) -> None:
    with serve_http({"/": "fine"}) as other:
        with (
            redirecting(f"http://{host}:{other.port}/", status) as url,
            HttpClient(
                headers={**SECRETS, "User-Agent": "probe", "Accept": "text/html"}, ip_version=4
            ) as client,
        ):
            assert client.get_text(url, headers={"X-More": "hunter2"}) == "fine"
        text = seen_elsewhere(other.requests[0])
    assert "hunter2" not in text
    assert "User-Agent: probe" in text
    assert "Accept: text/html" in text


def test_another_scheme_is_another_origin(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    with serve_http({"/": "fine"}, tls=tls) as other:
        with (
            redirecting(f"https://127.0.0.1:{other.port}/") as url,
            HttpClient(headers=SECRETS, token="hunter2", ca_file=authority.ca_file) as client,
        ):
            assert client.get_text(url) == "fine"
        assert "hunter2" not in seen_elsewhere(other.requests[0])


def test_only_clients_that_are_made_under_a_restriction_are_bound_by_it() -> None:
    with serve_http({"/": "fine"}) as other, redirecting(f"http://localhost:{other.port}/") as url:
        with redirects_only_to(lambda host: host == "127.0.0.1"):
            bound = HttpClient(ip_version=4)
            library = requests.Session()
            limit_session(library, lambda: 5.0)
        with HttpClient(ip_version=4) as free, bound, library:
            assert free.get_text(url) == "fine"
            with pytest.raises(
                BadResponse, match="redirected to 'localhost', which may not be ask"
            ):
                bound.get_text(url)
            with pytest.raises(requests.TooManyRedirects):
                library.get(url)
        assert len(other.requests) == 1


@pytest.mark.parametrize("options", [{"user": "me", "password": "hunter2"}, {"token": "hunter2"}])
def test_credentials_do_not_return_once_a_redirect_led_elsewhere(options: dict[str, str]) -> None:
    with serve_http({}) as home:
        with serve_http(
            {"/": HttpResponse(status=302, headers={"Location": f"{home.url}/chosen"})}
        ) as other:
            there = HttpResponse(status=302, headers={"Location": f"{other.url}/"})
            home.routes = {"/": there, "/chosen": "fine"}
            with HttpClient(**options) as client:  # type: ignore[arg-type]
                client.get(f"{home.url}/")
        sent = [request.headers["Authorization"] for request in home.requests]
    assert sent[0] is not None
    assert sent[1] is None


def test_headers_and_credentials_go_along_within_the_origin() -> None:
    pages: dict[str, object] = {
        "/": HttpResponse(status=302, headers={"Location": "next"}),
        "/next": "fine",
    }
    with serve_http(pages) as server, HttpClient(headers=SECRETS) as client:
        client.get(server.url.replace("//", "//me:hunter3@") + "/")
        first, second = (dict(request.headers.items()) for request in server.requests)
    assert first == second
    assert second["X-Api-Key"] == "hunter2"


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (302, "HEAD", "HEAD"),
    ],
)
def test_method_after_a_redirect(status: int, method: str, then: str) -> None:
    pages: dict[str, object] = {
        "/": HttpResponse(status=status, headers={"Location": "/next"}),
        "/next": "fine",
    }
    with serve_http(pages) as server, HttpClient() as client:
        client.request(method, server.url, data=None if method == "HEAD" else "payload")
        request = server.requests[1]
    assert request.method == then
    assert request.body == (b"payload" if then in ("POST", "PUT") else b"")


@pytest.mark.parametrize(
    ("cookie", "path", "sent"),
    [
        ("a=1", "/", "a=1"),
        ("a=1; Path=/deep", "/", None),
        ("a=1; Path=/deep", "/deep/er", "a=1"),
        ("a=1; Path=/deep", "/deeper", None),
        ("a=1; Max-Age=0", "/", None),
        ("a=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "/", None),
        ("a=1; Secure", "/", None),
        ("a=1; Domain=example.org", "/", None),
        ("a=1; HttpOnly; Max-Age=60", "/", "a=1"),
        ("nothing", "/", None),
    ],
)
def test_cookie_goes_where_it_belongs(cookie: str, path: str, sent: str | None) -> None:
    pages: dict[str, object] = {"/login": HttpResponse(headers={"Set-Cookie": cookie}), path: ""}
    with serve_http(pages) as server, HttpClient() as client:
        client.get(f"{server.url}/login")
        client.get(server.url + path)
        assert server.requests[1].headers["Cookie"] == sent
