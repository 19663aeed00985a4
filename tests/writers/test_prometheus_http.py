"""The endpoint of `Prometheus`: what it answers, whom it waits for, and the status page."""

import contextlib
import http.client
import socket
import threading
import time
import tracemalloc

import pytest

from pollect.api import Batch, Metric, SourceId, WriteError
from pollect.support.http_server import Limits
from pollect_writers.prometheus.writer import prefers_open_metrics
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.writers.prometheus_scraper import (
    PROMETHEUS_2_42,
    build_prometheus,
    request,
    serving,
)

BATCH = Batch(SourceId("pollect", "LoadAvg"), [Metric("x").sample(1)], 0.0)
LINE = "pollect_LoadAvg_x 1.0\n"


@pytest.fixture
def endpoint():
    with serving(build_prometheus()) as writer:
        writer.write([BATCH])
        yield writer


@pytest.mark.parametrize("path", ["/metrics", "/", "/any/thing", "/metrics?x=y", "//"])
def test_every_path_answers_with_the_metrics(endpoint, path) -> None:
    answer = request(endpoint, path)
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert answer.text.endswith(LINE)


def test_prometheus_gets_openmetrics_at_the_root_too(endpoint) -> None:
    answer = request(endpoint, "/", headers={"Accept": PROMETHEUS_2_42})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith(LINE + "# EOF\n")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        (PROMETHEUS_2_42, True),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.2", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("Application/OpenMetrics-Text; version=1.0.0; q=0.9, text/plain; q=0.1", True),
    ],
)
def test_openmetrics_is_given_to_those_who_prefer_it(accept: str, expected: bool) -> None:
    assert prefers_open_metrics(accept) is expected


def test_gzip_when_asked_for(endpoint) -> None:
    answer = request(endpoint, headers={"Accept-Encoding": "gzip, deflate"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text.endswith(LINE)


@pytest.mark.parametrize("encodings", ["", "identity", "gzip;q=0", "deflate, GZIP; q=0.0, *;q=0"])
def test_no_gzip_when_it_is_not_wanted(endpoint, encodings: str) -> None:
    answer = request(endpoint, headers={"Accept-Encoding": encodings})
    assert "content-encoding" not in answer.headers
    assert answer.text.endswith(LINE)


def test_names_pick_metrics(endpoint) -> None:
    assert request(endpoint, "/metrics?name[]=pollect_LoadAvg_x&name[]=y").text.endswith(LINE)
    assert request(endpoint, "/metrics?name%5B%5D=y").text == ""


def test_other_methods_are_told_what_is_allowed(endpoint) -> None:
    posted = request(endpoint, method="POST")
    assert (posted.status, posted.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert request(endpoint, method="OPTIONS").status == 200
    head = request(endpoint, method="HEAD")
    assert (head.status, head.text) == (200, "")
    assert int(head.headers["content-length"]) > len(LINE)


def test_favicon_is_empty(endpoint) -> None:
    answer = request(endpoint, "/favicon.ico")
    assert (answer.status, answer.text) == (200, "")


def test_health_and_readiness() -> None:
    writer = build_prometheus()
    writer.context.ready.clear()
    with serving(writer):
        assert request(writer, "/-/healthy").status == 200
        assert request(writer, "/-/ready").status == 503
        writer.context.ready.set()
        assert request(writer, "/-/ready").status == 200


def test_the_first_scrape_waits_for_the_first_values() -> None:
    writer = build_prometheus()
    writer.context.ready.clear()
    with serving(writer):
        answers = []
        scraper = threading.Thread(target=lambda: answers.append(request(writer)))
        scraper.start()
        writer.write([BATCH])
        writer.context.ready.set()
        scraper.join()
        assert answers[0].text.endswith(LINE)


def test_a_port_in_use_names_the_address_and_the_cure(endpoint) -> None:
    second = build_prometheus(port=endpoint.port)
    with pytest.raises(
        WriteError, match=rf"127\.0\.0\.1 port {endpoint.port}: .*in use.*another `port`"
    ):
        second.open()
    second.close()


def test_two_endpoints_show_what_is_written_to_each(endpoint) -> None:
    other = Batch(SourceId("other", "LoadAvg"), [Metric("y").sample(2)], 0.0)
    with serving(build_prometheus()) as second:
        second.write([other])
        assert "other_" not in request(endpoint).text
        assert "pollect_" not in request(second).text


def test_an_address_that_is_not_ours_is_a_write_error() -> None:
    with pytest.raises(WriteError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        build_prometheus(bind="192.0.2.1").open()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_bind_to_all_takes_both_families(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with serving(build_prometheus(bind="::")) as writer:
        try:
            connection = socket.create_connection((host, writer.port), timeout=30)
        except OSError as error:
            pytest.skip(f"no {host} here: {error}")
        connection.close()


def test_it_opens_again_after_close_with_its_values(endpoint) -> None:
    endpoint.close()
    endpoint.close()
    endpoint.open()
    assert request(endpoint).text.endswith(LINE)


def test_a_connection_serves_many_scrapes(endpoint) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    with contextlib.closing(connection):
        local = set()
        for _ in range(3):
            connection.request("GET", "/metrics")
            local.add(connection.sock.getsockname())
            assert connection.getresponse().read().decode().endswith(LINE)
        assert len(local) == 1


def test_http_1_0_without_any_header_is_answered_and_closed(endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(LINE.encode())


def test_requests_in_one_packet_are_answered_one_by_one(endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as client:
        client.sendall(
            b"GET /-/healthy HTTP/1.1\r\n\r\nGET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_silent_clients_hold_nobody_up(endpoint) -> None:
    """More clients than there are places connect and say nothing; scrapes are answered at once."""
    threads = threading.active_count()
    with contextlib.ExitStack() as silent:
        for _ in range(Limits().connections + 10):
            silent.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=30))
        started = time.monotonic()
        assert request(endpoint).text.endswith(LINE)
        assert time.monotonic() - started < IN_TIME_SECONDS
        assert threading.active_count() <= threads + 1, "a silent client costs no thread"


def test_a_client_that_does_not_read_holds_nobody_up() -> None:
    writer = build_prometheus()
    metric = Metric("many", labels=("series",))
    samples = [metric.sample(1, f"{'x' * 1000}{n}") for n in range(10_000)]
    with serving(writer):
        writer.write([Batch(BATCH.source, samples, 0.0)])
        with socket.create_connection(("127.0.0.1", writer.port), timeout=30) as deaf:
            deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert request(writer, "/-/healthy").status == 200


def test_clients_that_read_slowly_share_the_text_of_a_large_source() -> None:
    writer = build_prometheus()
    metric = Metric("many", labels=("series",))
    samples = [metric.sample(1, f"{'x' * 1000}{n}") for n in range(5_000)]
    with serving(writer), contextlib.ExitStack() as deaf:
        writer.write([Batch(BATCH.source, samples, 0.0)])
        size = len(request(writer).text)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(20):
                client = deaf.enter_context(socket.create_connection(("127.0.0.1", writer.port)))
                client.settimeout(5)
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                assert client.recv(1) == b"H"
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert size > 5_000_000
    assert grown < size / 2


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
        ("pollect:8000", 200),
        (f"{socket.gethostname()}:8000", 200),
        ("nas.example.org", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 200),
    ],
)
def test_a_name_that_a_stranger_could_have_registered_reads_nothing(host: str, status: int) -> None:
    with serving(build_prometheus(allowedHosts=["*.example.org"])) as writer:
        writer.write([BATCH])
        answer = request(writer, headers={"Host": host})
    assert answer.status == status
    assert answer.text.endswith(LINE) is (status == 200)
    if status != 200:
        assert "allowedHosts" in answer.text


def test_close_ends_open_connections_and_leaves_no_thread() -> None:
    writer = build_prometheus()
    before = set(threading.enumerate())
    writer.open()
    with socket.create_connection(("127.0.0.1", writer.port), timeout=30) as idle:
        assert request(writer).status == 200
        writer.close()
        assert idle.recv(1) == b""
    assert set(threading.enumerate()) == before
