"""The server of plugins that listen: what it takes, what it refuses, and who it keeps waiting."""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.support._serving import places
from pollect.support._serving.message import BadRequest, BodyReader, parse_head
from pollect.support.allowed_hosts import AllowedHosts, names_of_this_host
from pollect.support.http_server import (
    Handler,
    HttpServer,
    Later,
    Limits,
    Request,
    Response,
    is_token,
    listen,
)
from pollect.testing.waiting import wait_until
from tests.simulators.tcp import IN_TIME_SECONDS

CL_5 = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"


def echo(request: Request) -> Response:
    return Response(request.body or request.path.encode(), earns_trust=True)


@contextlib.contextmanager
def serving(handler: Handler = echo, **options: Any) -> Iterator[HttpServer]:
    limits = Limits(**options.pop("limits", {"body_bytes": 1000}))
    server = HttpServer(listen("127.0.0.1", 0), handler, limits=limits, **options)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def connected(server: HttpServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        yield client


def read_all(client: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            received += chunk
    return bytes(received)


def ask(server: HttpServer, sent: bytes) -> bytes:
    with connected(server) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX : blank before the colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: nul\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: line\nfeed\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * Limits().head_bytes, 431),
    ],
)
def test_what_is_not_a_request_is_refused(sent: bytes, status: int) -> None:
    with serving() as server:
        assert status_of(ask(server, sent)) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        (b"Content-Length: 5\r\nContent-Length: 6", 400),
        (b"Content-Length: 5\r\ncontent-length: 5", 400),
        (b"Content-Length: 5, 6", 400),
        (b"Content-Length: +5", 400),
        (b"Content-Length: -5", 400),
        (b"Content-Length: 0x5", 400),
        (b"Content-Length: 5 5", 400),
        (b"Content-Length: \xb2", 400),
        (b"Content-Length:", 400),
        (b"Content-Length: " + b"9" * 30, 400),
        (b"Content-Length: 1001", 413),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
        (b"Transfer-Encoding: xchunked", 501),
        (b"Transfer-Encoding : chunked", 400),
    ],
)
def test_a_body_that_could_end_in_two_places_is_refused(headers: bytes, status: int) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\n\r\n"
    seen: list[str] = []

    def note(request: Request) -> Response:
        seen.append(request.path)
        return echo(request)

    with serving(note) as server:
        sent = b"POST / HTTP/1.1\r\n" + headers + b"\r\n\r\n" + b"0\r\n\r\n" + smuggled
        answer = ask(server, sent)
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1, "nothing behind it is taken for a request"
    assert seen == []


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body


@pytest.mark.parametrize(
    "body",
    [
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"0_3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3;" + b"x" * 300 + b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\n" + b"x: y\r\n" * 2000 + b"\r\n",
        "\N{ARABIC-INDIC DIGIT THREE}\r\nabc\r\n0\r\n\r\n".encode(),
    ],
)
def test_chunks_that_are_malformed_are_refused(body: bytes) -> None:
    with serving() as server:
        assert status_of(ask(server, chunked(body))) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"0005;name=value\r\nabcde\r\n000\r\nTrailer: x\r\n\r\n",
    ],
)
def test_chunks_are_joined(body: bytes) -> None:
    with serving() as server:
        assert ask(server, chunked(body)).endswith(b"\r\n\r\nabcde")


def test_chunks_over_the_limit_are_refused_before_they_arrive() -> None:
    with serving() as server:
        assert status_of(ask(server, chunked(b"3e9\r\n"))) == 413
        assert status_of(ask(server, chunked((b"190\r\n" + b"x" * 400 + b"\r\n") * 3))) == 413


@given(st.binary(max_size=200), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_a_body_is_the_same_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    sent = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7])
        for at in range(0, len(body), 7)
    )
    sent += b"0\r\n\r\nrest"
    reader, received, at, done = BodyReader(None, 200), bytearray(), 0, False
    for cut in cuts * 200:
        received += sent[at : at + cut]
        at += cut
        done = done or reader.feed(received)
        if at >= len(sent):
            break
    assert done
    assert reader.body == body
    assert sent.endswith(received)


@given(st.binary(max_size=300))
def test_any_head_is_read_or_refused(head: bytes) -> None:
    with contextlib.suppress(BadRequest):
        parse_head(head)


def test_requests_in_one_packet_are_answered_one_by_one_in_order() -> None:
    paths = [f"/{number}" for number in range(300)]
    sent = "".join(f"GET {path} HTTP/1.1\r\n\r\n" for path in paths).encode()
    with serving() as server:
        answer = ask(server, sent)
    assert [
        part.rpartition(b"\r\n\r\n")[2].decode() for part in answer.split(b"HTTP/1.1 ")[1:]
    ] == [*paths]


def test_a_request_that_comes_with_the_end_of_the_answer_before_is_answered() -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(4)]
        for number in range(100):
            for client in clients:
                client.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % number)
            for client in clients:
                answer = b""
                while not answer.endswith(b"\r\n\r\n/%d" % number):
                    chunk = client.recv(65536)
                    assert chunk
                    answer += chunk


def test_a_request_that_comes_while_the_one_before_is_answered_waits_for_it() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def handler(request: Request) -> Response:
        begun.set()
        assert request.path == "/second" or go_on.wait(30)
        return echo(request)

    with serving(handler) as server, connected(server) as client:
        client.sendall(b"GET /first HTTP/1.1\r\n\r\n")
        assert begun.wait(30)
        client.sendall(b"GET /second HTTP/1.1\r\nConnection: close\r\n\r\n")
        # The server has seen that there is more: it answers others meanwhile.
        assert ask(server, b"GET /second HTTP/1.1\r\n\r\n").endswith(b"/second")
        go_on.set()
        answers = read_all(client)
        assert 0 < answers.find(b"/first") < answers.find(b"/second")


def test_a_connection_at_rest_after_an_answer_is_dropped_when_its_time_is_up() -> None:
    with serving(limits={"idle_seconds": 0.2}) as server:

        def is_answered() -> bool:
            """Return whether the request came in time; what is read ends as the server drops it."""
            with connected(server) as client, contextlib.suppress(ConnectionError):
                client.sendall(b"GET /a HTTP/1.1\r\n\r\n")
                return read_all(client).endswith(b"/a")
            return False

        wait_until(is_answered)


def test_many_refused_requests_in_one_packet_are_answered_too() -> None:
    sent = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n" * 2000
    with serving(hosts=AllowedHosts()) as server:
        assert ask(server, sent).count(b"HTTP/1.1 403") == 2000


def test_a_body_is_asked_for_with_100_continue() -> None:
    with serving() as server, connected(server) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert read_all(client).endswith(b"\r\n\r\nhello")


def test_a_body_that_is_refused_by_its_head_is_not_asked_for() -> None:
    refusal = Response(b"no", status=HTTPStatus.UNAUTHORIZED)
    with serving(screen=lambda head: refusal) as server, connected(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 401 ")


def test_a_client_that_writes_on_sees_why_its_body_is_refused() -> None:
    with serving() as server, connected(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n")
        for _ in range(40):
            client.sendall(b"x" * 100_000)
        assert read_all(client).startswith(b"HTTP/1.1 413 ")


def test_a_request_that_is_not_finished_in_time_loses_its_connection() -> None:
    limits = {"request_seconds": 0.2, "body_bytes": 100}
    with serving(limits=limits) as server:
        for start in (b"GET /slow HT", CL_5 + b"he"):
            with connected(server) as client:
                client.sendall(start)
                assert read_all(client) == b""


def test_a_slow_request_gets_no_more_time_by_dripping() -> None:
    with serving(limits={"request_seconds": 0.3}) as server, connected(server) as client:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            client.settimeout(0.05)
            while True:
                client.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(10):
                        break
                assert time.monotonic() - started < IN_TIME_SECONDS


def test_a_silent_connection_gives_its_place_to_a_new_one() -> None:
    with serving(limits={"connections": 3}) as server, contextlib.ExitStack() as stack:
        useful = stack.enter_context(connected(server))
        useful.sendall(b"GET /1 HTTP/1.1\r\n\r\n")
        assert useful.recv(1000).endswith(b"/1")
        silent = [stack.enter_context(connected(server)) for _ in range(20)]
        assert read_all(silent[0]) == b""
        assert status_of(ask(server, b"GET / HTTP/1.1\r\n\r\n")) == 200
        useful.sendall(b"GET /2 HTTP/1.1\r\n\r\n")
        assert useful.recv(1000).endswith(b"/2"), "strangers go first"


def test_requests_that_have_arrived_are_answered_however_many_come_at_once() -> None:
    server = HttpServer(listen("127.0.0.1", 0), echo, limits=Limits(connections=3))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(40)]
        for number, client in enumerate(clients):
            client.sendall(f"GET /{number} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        stack.callback(server.close)
        server.start()
        answers = [read_all(client) for client in clients]
    assert [answer.rpartition(b"/")[2] for answer in answers] == [
        str(number).encode() for number in range(40)
    ]


def test_a_new_connection_keeps_its_place_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client on a busy machine writes a while after it has connected."""
    monkeypatch.setattr(places, "_TIME_TO_BEGIN", 30.0)
    with serving(limits={"connections": 2}) as server, contextlib.ExitStack() as stack:
        early = [stack.enter_context(connected(server)) for _ in range(2)]
        late = [stack.enter_context(connected(server)) for _ in range(20)]
        for client in late:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        for client in early:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert [status_of(read_all(client)) for client in (*early, *late)] == [200] * 22


def test_connections_are_turned_away_while_all_are_being_answered() -> None:
    go_on = threading.Event()
    running: list[int] = []

    def wait(request: Request) -> Response:
        running.append(1)
        go_on.wait(30)
        return echo(request)

    with serving(wait, limits={"connections": 2}) as server, contextlib.ExitStack() as stack:
        busy = [stack.enter_context(connected(server)) for _ in range(2)]
        for client in busy:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")

        wait_until(lambda: len(running) == 2)
        with connected(server) as third:
            assert read_all(third).startswith(b"HTTP/1.1 503 ")
        go_on.set()
        assert [status_of(read_all(client)) for client in busy] == [200, 200]


def test_threads_are_bounded_whatever_arrives() -> None:
    go_on = threading.Event()
    running: list[int] = []

    def wait(request: Request) -> Response:
        running.append(1)
        go_on.wait(30)
        return echo(request)

    before = threading.active_count()
    with serving(wait, limits={"threads": 4}) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(100)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        wait_until(lambda: len(running) == 4)
        assert threading.active_count() == before + 5
        go_on.set()
        assert all(status_of(read_all(client)) == 200 for client in clients)


def test_what_takes_long_is_made_one_at_a_time_and_keeps_no_one_else_waiting() -> None:
    go_on = threading.Event()
    making: list[str] = []

    def slowly(request: Request) -> Response | Later:
        if request.path == "/quick":
            return echo(request)

        def make() -> Response:
            making.append(request.path)
            go_on.wait(30)
            return echo(request)

        return Later(make)

    with serving(slowly, limits={"threads": 2}) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(10)]
        for number, client in enumerate(clients):
            client.sendall(f"GET /{number} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        wait_until(lambda: bool(making))
        assert ask(server, b"GET /quick HTTP/1.1\r\n\r\n").endswith(b"/quick")
        assert len(making) == 1
        go_on.set()
        for number, client in enumerate(clients):
            assert read_all(client).endswith(f"/{number}".encode())


def test_answers_that_are_not_read_hold_a_bounded_amount_of_memory() -> None:
    answer = b"x" * 20_000_000
    # The last one is read when all the others have been, which takes a busy machine a while.
    limits = {"unsent_bytes": 50_000_000, "send_seconds": 150.0}

    def handler(request: Request) -> Response:
        return Response(bytes(bytearray(answer)))

    with serving(handler, limits=limits) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(6)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert client.recv(1) == b"H"
        complete = [len(read_all(client)) > len(answer) for client in clients]
    assert complete[-1], "the newest is served"
    assert not complete[0], "the slowest is dropped"


def test_a_handler_that_fails_costs_its_request_only(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Response:
        if request.path == "/bad":
            raise ValueError("what only the log says")
        return echo(request)

    with serving(fail) as server:
        answer = ask(server, b"GET /bad HTTP/1.1\r\n\r\nGET /good HTTP/1.1\r\n\r\n")
    assert status_of(answer) == 500
    assert b"what only the log says" not in answer
    assert answer.endswith(b"/good")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_system_without_threads_costs_the_connection_and_not_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with serving() as server:
        with monkeypatch.context() as short_of_threads:
            short_of_threads.setattr(threading.Thread, "start", fail)
            assert ask(server, b"GET / HTTP/1.1\r\n\r\n") == b""
        assert "connection refused: can't start new thread" in caplog.text
        assert status_of(ask(server, b"GET / HTTP/1.1\r\n\r\n")) == 200


def test_a_client_that_left_is_known_to_have_left() -> None:
    left = threading.Event()
    found: list[bool] = []

    def look(request: Request) -> Response:
        found.append(request.is_gone())
        left.wait(30)
        wait_until(request.is_gone)
        found.append(request.is_gone())
        return echo(request)

    with serving(look) as server:
        with connected(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            wait_until(lambda: bool(found))
        left.set()
        wait_until(lambda: len(found) == 2)
    assert found == [False, True]


def test_close_ends_everything_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with serving() as server, connected(server) as idle:
        assert status_of(ask(server, b"GET / HTTP/1.1\r\n\r\n")) == 200
        server.close()
        assert idle.recv(1) == b""
    assert set(threading.enumerate()) == before


OWN = names_of_this_host()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (None, True),
        ("", True),
        ("192.168.1.7", True),
        ("192.168.1.7:8000", True),
        ("[fe80::1]:8000", True),
        ("[::ffff:10.0.0.1]", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("app.localhost", True),
        ("nas", True),
        ("nas.fritz.box", True),
        ("NAS.fritz.box.:8000", True),
        ("metrics.example.org", True),
        ("example.org", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.1.7.evil.example", False),
        ("192.168.1.evil", False),
        ("nas.fritz.box.evil.example", False),
        ("evil.example:80:80", False),
        ("evil.example@localhost", False),
        ("[::1].evil.example", False),
        ("metrics.example.org.evil.example", False),
    ],
)
def test_hosts_that_strangers_can_register_are_not_allowed(host: str | None, allowed: bool) -> None:
    hosts = AllowedHosts(["*.Example.org"], own={"nas", "nas.fritz.box"})
    assert hosts.allows(host) is allowed


def test_a_star_allows_every_host() -> None:
    assert AllowedHosts(["*"], own=()).allows("any.example")


def test_this_host_is_known_in_the_domains_that_are_searched(tmp_path: Any) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 10.0.0.1\nsearch Fritz.box lan.\n")
    short = socket.gethostname().lower().partition(".")[0]
    names = names_of_this_host(file)
    assert {short, f"{short}.local", f"{short}.fritz.box", f"{short}.lan"} <= names
    assert names_of_this_host(tmp_path / "absent") >= {short, f"{short}.local"}


@pytest.mark.parametrize(
    ("sent", "token", "same"),
    [
        ("t0ken", "t0ken", True),
        ("t0ken2", "t0ken", False),
        ("", "", False),
        ("schlüssel".encode().decode("latin-1"), "schlüssel", True),
        ("schlüssel", "schlüssel", True),
        ("ключ".encode().decode("latin-1"), "ключ", True),
        ("\\u043a", "к", False),
    ],
)
def test_tokens_are_the_same_as_utf_8_and_as_latin_1(sent: str, token: str, same: bool) -> None:
    assert is_token(sent, token) is same


def test_answers_are_counted_by_status() -> None:
    counted: list[int] = []

    def refuse(status: HTTPStatus, reason: str) -> Response:
        return Response(json.dumps({"error": reason}).encode(), status=status)

    with serving(answered=lambda status: counted.append(int(status)), refuse=refuse) as server:
        ask(server, b"GET / HTTP/1.1\r\n\r\n")
        answer = ask(server, b"rubbish\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Bad Request"}
    assert counted == [200, 400]
