"""Writer PrometheusRemoteWrite: judged by Prometheus and by VictoriaMetrics."""

import base64
import struct
from typing import Any

import cramjam
import pytest

from pollect.api import Batch, Metric, Rejected, Retryable, SourceId, Writer
from pollect.testing import build_writer
from pollect_writers.prometheus_remote_write.payload import STALE_MARKER, build_points
from pollect_writers.prometheus_remote_write.writer import PrometheusRemoteWriteWriter
from tests.simulators import web
from tests.simulators.web import serve_http
from tests.writers.samples import NOW, VALUE, counted, numbered, values
from tests.writers.servers import Prometheus, VictoriaMetrics

NOW_MS = int(NOW * 1000)
SOURCE = SourceId("pollect", "Test")


def remote(url: str, **section: Any) -> Writer[Any]:
    return build_writer({"url": url, **section}, PrometheusRemoteWriteWriter)


def write(writer: Writer[Any], *batches: Batch) -> None:
    writer.open()
    try:
        writer.write(batches)
    finally:
        writer.close()


@pytest.mark.integration
def test_real_prometheus_shows_values_with_their_labels(
    prometheus: Prometheus, source: SourceId
) -> None:
    metric = Metric("size", labels=("zone", "a-b", "empty"))
    text = 'ä\n"\\' + "x" * 300
    batch = Batch(source, [metric.sample(-1.5, text, "2", "")], NOW, (("site", "home"),))
    write(remote(prometheus.write_url), batch)
    name = f"pollect_Test_{source.name}_size"
    assert prometheus.query(name, NOW) == [
        ({"__name__": name, "zone": text, "a_b": "2", "site": "home"}, -1.5)
    ]


@pytest.mark.integration
def test_series_that_vanished_leaves_the_query_at_once(
    prometheus: Prometheus, source: SourceId
) -> None:
    writer = remote(prometheus.write_url)
    name = f"pollect_Test_{source.name}_value"

    def shown(time: float) -> set[str]:
        return {labels["of"] for labels, _ in prometheus.query(name, time)}

    write(writer, values(source, {"a": 1, "b": 2}))
    assert shown(NOW + 1) == {"a", "b"}
    write(writer, values(source, {"a": 1}, time=NOW + 10))
    assert shown(NOW + 10) == {"a"}
    write(writer, Batch(source, [], NOW + 20))
    assert shown(NOW + 20) == set()
    write(writer, values(source, {"b": 3}, time=NOW + 30))
    assert shown(NOW + 30) == {"b"}


@pytest.mark.integration
def test_one_source_out_of_order_does_not_cost_the_others(
    prometheus: Prometheus, source: SourceId
) -> None:
    late = SourceId(source.collection, "Late", source.name)
    write(remote(prometheus.write_url), numbered(late, 100))
    # A new process knows nothing of what the old one sent.
    batches = [numbered(late, 50), *(numbered(source, number) for number in range(10))]
    with pytest.raises(Rejected, match="out of order") as caught:
        write(remote(prometheus.write_url), *batches)
    assert caught.value.lost == 1
    name = f"pollect_Test_{source.name}_value"
    assert prometheus.query(f"count_over_time({name}[1m])", NOW + 10)[0][1] == 10


@pytest.mark.integration
def test_victoria_metrics_stores_every_sample(
    victoria_metrics: VictoriaMetrics, source: SourceId
) -> None:
    batches = [numbered(source, number) for number in range(300)]
    write(remote(victoria_metrics.write_url), *batches)
    (row,) = victoria_metrics.export(f'{{__name__="pollect_Test_{source.name}_value"}}')
    assert row["values"] == list(range(300))
    assert row["timestamps"] == [NOW_MS + 1000 * number for number in range(300)]


def test_sample_that_repeats_itself_is_sent_once_and_never_lost() -> None:
    sample = VALUE.sample(4.0, time=NOW - 5)
    batches = [Batch(SOURCE, [sample], NOW + tick) for tick in range(3)]
    points, _, outdated = build_points(batches, {})
    assert [(time_ms, outdated) for _, _, time_ms in points] == [(NOW_MS - 5000, 0)]


def test_sample_older_than_its_series_is_counted() -> None:
    with serve_http({"/w": web.Answer("", 204)}) as server:
        writer = remote(server.url + "/w")
        write(writer, numbered(SOURCE, 5))
        with pytest.raises(Rejected) as caught:
            write(writer, numbered(SOURCE, 4), numbered(SOURCE, 6))
    assert caught.value.lost == 1
    assert len(server.requests) == 2


def test_delivery_that_fails_is_the_same_when_repeated() -> None:
    answers = [web.Answer("", 204), web.Answer("", 500), web.Answer("", 204)]
    with serve_http({"/w": lambda request: answers.pop(0)}) as server:
        writer = remote(server.url + "/w")
        write(writer, values(SOURCE, {"a": 1, "b": 2}))
        batches = [values(SOURCE, {"a": 1}, time=NOW + 1), Batch(SOURCE, [], NOW + 2)]
        with pytest.raises(Retryable):
            write(writer, *batches)
        write(writer, *batches)
    _, failed, repeated = server.requests
    assert failed.body == repeated.body
    message = bytes(cramjam.snappy.decompress_raw(repeated.body))
    assert message.count(STALE_MARKER) == 2


def test_stale_marker_is_later_than_the_last_sample() -> None:
    batch = Batch(SOURCE, [VALUE.sample(1.0, time=NOW + 60)], NOW)
    points, _, _ = build_points([batch, Batch(SOURCE, [], NOW + 1)], {})
    assert [(value, time_ms) for _, value, time_ms in points] == [
        (struct.pack("<d", 1.0), NOW_MS + 60_000),
        (STALE_MARKER, NOW_MS + 60_001),
    ]


def test_other_static_labels_end_the_old_series() -> None:
    def batch(site: str, time: float) -> Batch:
        return Batch(SOURCE, [VALUE.sample(1.0)], time, (("site", site),))

    points, known, _ = build_points([batch("old", NOW), batch("new", NOW + 1)], {})
    assert [value == STALE_MARKER for _, value, _ in points] == [False, False, True]
    assert points[0][0] == points[2][0] != points[1][0]
    assert len(known[SOURCE]) == 1


def test_requests_carry_the_headers_of_the_protocol_and_the_credentials() -> None:
    with serve_http({"/w": web.Answer("", 204)}) as server:
        write(remote(server.url + "/w", user="me", password="pw"), counted(SOURCE, 1))
        write(remote(server.url + "/w", token="abc"), counted(SOURCE, 1))
    basic, bearer = server.requests
    assert basic.headers["Content-Encoding"] == "snappy"
    assert basic.headers["Content-Type"] == "application/x-protobuf"
    assert basic.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert base64.b64decode(basic.headers["Authorization"].split()[1]) == b"me:pw"
    assert bearer.headers["Authorization"] == "Bearer abc"
