"""What servers send, as HTTP/1.1 allows it and as it does not."""

import gzip
import random
import socket
import zlib

import pytest

from pollect.api import BadResponse
from pollect.support.http import HttpClient, Response
from tests.simulators.tcp import Peer, say, serve_tcp

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: Chunked\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Hint: yes\r\n\r\n"


def get(answer: bytes, **options: object) -> Response:
    with serve_tcp(say(answer)) as server, HttpClient(timeout=30) as client:
        method = str(options.pop("method", "GET"))
        return client.request(method, f"http://{server.address}/", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "interim",
    [
        HINTS,
        HINTS * 3,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS,
        b"HTTP/1.1 199 Odd\nX: y\n\n",
    ],
    ids=["103", "several", "100", "102 and 103", "unknown"],
)
def test_interim_answers_are_not_taken_for_the_answer(interim: bytes) -> None:
    found = get(interim + OK + b"Content-Length: 4\r\n\r\nfine")
    assert (found.status, found.body) == (200, b"fine")
    assert "X-Hint" not in found.headers


def test_interim_answers_without_an_end_are_an_error() -> None:
    with pytest.raises(BadResponse, match="more than 100 interim answers"):
        get(HINTS * 200)
    with pytest.raises(BadResponse, match="ended too early"):
        get(HINTS)


def test_many_and_long_headers_do_not_decide_about_an_answer() -> None:
    many = b"".join(b"X-Number-%d: %d\r\n" % (number, number) for number in range(2000))
    long = b"X-Long: " + b"x" * 200_000 + b"\r\n"
    found = get(OK + many + long + b"Content-Length: 2\r\n\r\nhi")
    assert found.body == b"hi"
    assert found.headers["x-number-1999"] == "1999"
    assert len(found.headers["x-long"]) == 200_000


def test_headers_beyond_the_limit_are_named() -> None:
    with pytest.raises(BadResponse, match="the headers are larger than 1048576 bytes"):
        get(OK + b"X-Long: " + b"x" * 1_100_000 + b"\r\n\r\n")


def test_endless_headers_are_cut_off() -> None:
    def endless(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)
        connection.sendall(OK)
        while not peer.over.is_set():
            connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")

    with serve_tcp(endless) as server, HttpClient(timeout=30) as client:
        with pytest.raises(BadResponse, match="the headers are larger than"):
            client.get(f"http://{server.address}/")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 4\r\n\r\nfine", b"fine"),
        (OK + b"Content-Length: 4, 4\r\n\r\nfine", b"fine"),
        (OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nfine", b"fine"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (OK + b"Content-Length: -1\r\n\r\nuntil the end", b"until the end"),
        (CHUNKED + b"\r\n2;x=y\r\nfi\r\n2\r\nne\r\n0\r\n\r\n", b"fine"),
        (CHUNKED + b"Content-Length: 9\r\n\r\n4\r\nfine\r\n0\r\nT: r\r\n\r\n", b"fine"),
        (b"HTTP/1.0 200\n\nbare lines", b"bare lines"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
        pytest.param(
            OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"a") + gzip.compress(b"b"),
            b"ab",
            id="two members",
        ),
        (OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"fine"), b"fine"),
        (OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"fine")[2:-4], b"fine"),
        (OK + b"Content-Encoding: identity\r\n\r\nfine", b"fine"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_body_is_taken_by_its_framing_and_coding(answer: bytes, body: bytes) -> None:
    found = get(answer, statuses=None)
    assert found.body == body


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine", "several lengths that differ"),
        (CHUNKED + b"\r\n+4\r\nfine\r\n0\r\n\r\n", "size of a chunk"),
        (CHUNKED + b"\r\n0x4\r\nfine\r\n0\r\n\r\n", "size of a chunk"),
        (CHUNKED + b"\r\n4\r\nfine and more\r\n", "end of a chunk"),
        (CHUNKED + b"\r\n4\r\nfi", "ended too early"),
        (OK + b"Content-Type: text/pl", "ended too early"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "expected an HTTP answer, got 'SSH-2.0"),
        (b"HTTP/1.1 OK\r\n\r\n", "expected an HTTP answer, got 'HTTP/1.1 OK'"),
    ],
)
def test_what_contradicts_the_protocol_is_named(answer: bytes, words: str) -> None:
    with pytest.raises(BadResponse, match=words.replace("+", r"\+")):
        get(answer)


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 12])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_that_breaks_off_is_no_answer(coding: str, missing: int) -> None:
    whole = (gzip if coding == "gzip" else zlib).compress(b"temperature 12345\n")
    head = OK + b"Content-Encoding: %s\r\n\r\n" % coding.encode()
    assert get(head + whole).body == b"temperature 12345\n"
    with pytest.raises(BadResponse, match="the compressed answer ended too early"):
        get(head + whole[:-missing])


def test_answer_to_head_has_no_body() -> None:
    found = get(OK + b"Content-Length: 400\r\n\r\n", method="HEAD")
    assert (found.status, found.body) == (200, b"")


def test_small_body_that_unpacks_to_a_huge_one_is_stopped() -> None:
    bomb = gzip.compress(bytes(200_000_000))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with pytest.raises(BadResponse, match="larger than 10485760 bytes"):
        get(head + bomb)


def test_equal_headers_are_joined_and_folded_ones_are_one() -> None:
    found = get(OK + b"Via: a\r\nVIA: b\r\nX-Long: one\r\n  two\r\nno colon\r\nName : v\r\n\r\n")
    assert found.headers["via"] == "a, b"
    assert found.headers["X-LONG"] == "one two"
    assert found.headers["name"] == "v"
    assert found.headers.get_all("Via") == ["a", "b"]
    assert list(found.headers) == ["VIA", "X-Long", "Name"]


def test_kept_connection_that_the_server_closed_is_made_again() -> None:
    def once(connection: socket.socket, peer: Peer) -> None:
        connection.recv(4096)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nhi")

    with serve_tcp(once) as server, HttpClient(timeout=30) as client:
        for _ in range(3):
            assert client.get_text(f"http://{server.address}/") == "hi"


def test_longer_body_can_be_cut() -> None:
    with serve_tcp(say(OK + b"\r\n" + b"x" * 5000)) as server:
        with HttpClient(timeout=30, max_body_bytes=100, cut_body=True) as client:
            assert client.get_text(f"http://{server.address}/") == "x" * 100
    noise = random.Random(0).randbytes(5000)
    zipped = OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(noise)
    with serve_tcp(say(zipped)) as server:
        with HttpClient(timeout=30, max_body_bytes=1000, cut_body=True) as client:
            assert noise.startswith(client.get(f"http://{server.address}/").body)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("/a b", "/a%20b"),
        ("/größe?q=ä", "/gr%C3%B6%C3%9Fe?q=%C3%A4"),
        ("/done%20?x=%zz", "/done%20?x=%25zz"),
        ("?only=query", "/?only=query"),
        ("/p#fragment", "/p"),
    ],
)
def test_target_is_encoded_but_never_twice(url: str, target: str) -> None:
    seen: list[bytes] = []

    def note(connection: socket.socket, peer: Peer) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with serve_tcp(note) as server, HttpClient(timeout=30) as client:
        client.get(f"http://{server.address}{url}")
    assert seen[0].startswith(f"GET {target} HTTP/1.1\r\nHost: {server.address}\r\n".encode())


@pytest.mark.parametrize("location", ["http://[::1", "//[", "http://me:hunter2@[::1/"])
def test_a_redirect_to_what_is_no_url_is_named(location: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(BadResponse, match="which is not a URL") as caught:
        get(answer.encode())
    assert "hunter2" not in str(caught.value)


def test_what_is_no_text_is_sent_as_a_question_mark() -> None:
    """Broken Unicode out of the JSON of a peer, in each part of the request that follows."""
    seen: list[bytes] = []

    def note(connection: socket.socket, peer: Peer) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with serve_tcp(note) as server, HttpClient(timeout=30) as client:
        client.post(
            f"http://{server.address}/\ud800",
            params={"a": "\ud800"},
            headers={"X-Name": "\ud800"},
            data={"b": "\ud800"},
        )
    assert seen[0].startswith(b"POST /%3F?a=%3F HTTP/1.1\r\n")
    assert b"X-Name: ?\r\n" in seen[0]
    assert seen[0].endswith(b"b=%3F")


def test_a_header_cannot_bring_another_one_along() -> None:
    with HttpClient(headers={"X-Name": "a\r\nX-Evil: b"}) as client:
        with pytest.raises(BadResponse, match="'X-Name' contains a line break"):
            client.get("http://127.0.0.1:9/")
    with serve_tcp(say(OK + b"\r\n")) as server:
        with HttpClient(token="hunter2\r\nX-Evil: b") as client:
            with pytest.raises(BadResponse, match="'Authorization' contains a line") as caught:
                client.get(f"http://{server.address}/")
    assert "hunter2" not in str(caught.value)
