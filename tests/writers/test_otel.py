"""Writer Otel: what goes over the wire, judged by the official protobuf classes and a collector."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from pollect.api import Batch, ConfigError, Metric, Rejected, Retryable, SourceId, Writer
from pollect.testing import build_writer
from pollect.testing.waiting import wait_until
from pollect_writers.otel.payload import otel_name
from pollect_writers.otel.writer import OtelWriter
from tests.simulators import web
from tests.simulators.web import WebServer, serve_http
from tests.writers.samples import NOW, counted, values
from tests.writers.servers import Rotel

SOURCE = SourceId("pollect", "Process", "web")
SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[WebServer]:
    with serve_http({"/v1/metrics": b"", "/elsewhere": b""}) as server:
        yield server


def received(server: WebServer) -> list[ExportMetricsServiceRequest]:
    return [decode(request) for request in server.requests]


def decode(request: web.Request) -> ExportMetricsServiceRequest:
    body = request.body
    if request.headers["Content-Encoding"] == "gzip":
        body = gzip.decompress(body)
    return ExportMetricsServiceRequest.FromString(body)


def metrics_of(message: ExportMetricsServiceRequest) -> dict[str, Any]:
    (resource,) = message.resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "pollect"
    return {metric.name: metric for metric in scope.metrics}


def attributes_of(attributes: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in attributes}


def send(writer: Writer[Any], *batches: Batch) -> None:
    writer.open()
    try:
        writer.write(batches)
    finally:
        writer.close()


def test_gauge_carries_name_unit_labels_and_its_own_time(collector: WebServer) -> None:
    metric = Metric("Load", help="How busy.", unit="ratio", labels=("core",))
    batch = Batch(
        SOURCE,
        [metric.sample(0.5, "0"), metric.sample(0.25, "1", time=NOW - 3)],
        NOW,
        (("site", "home"),),
    )
    send(build_writer({"endpoint": collector.url + "/v1/metrics"}, OtelWriter), batch)
    (message,) = received(collector)
    metric_message = metrics_of(message)["pollect.process.web_load"]
    assert (metric_message.unit, metric_message.description) == ("1", "How busy.")
    first, second = metric_message.gauge.data_points
    assert attributes_of(first.attributes) == {"core": "0", "site": "home"}
    assert (first.as_double, first.time_unix_nano) == (0.5, int(NOW) * SECOND_NS)
    assert (second.as_double, second.time_unix_nano) == (0.25, int(NOW - 3) * SECOND_NS)


def test_counter_is_a_cumulative_sum_that_starts_anew_after_a_reset(collector: WebServer) -> None:
    writer = build_writer({"endpoint": collector.url + "/v1/metrics"}, OtelWriter)
    send(writer, counted(SOURCE, 5, time=NOW), counted(SOURCE, 9, time=NOW + 10))
    send(writer, counted(SOURCE, 3, time=NOW + 20), counted(SOURCE, 4, time=NOW + 30))
    points = []
    for message in received(collector):
        total = metrics_of(message)["pollect.process.web_bytes_sent"]
        assert (total.sum.is_monotonic, total.sum.aggregation_temporality) == (True, 2)
        assert total.unit == "By"
        points += [
            (point.as_double, point.start_time_unix_nano // SECOND_NS - int(NOW))
            for point in total.sum.data_points
        ]
    assert points == [(5, 0), (9, 0), (3, 10), (4, 10)]


def test_delivery_that_fails_is_the_same_when_repeated(collector: WebServer) -> None:
    down = [web.Answer("", 503), web.Answer("")]
    with serve_http({"/v1/metrics": lambda request: down.pop(0)}) as server:
        writer = build_writer({"endpoint": server.url + "/v1/metrics"}, OtelWriter)
        batches = [counted(SOURCE, amount, time=NOW + amount) for amount in (8, 9, 1)]
        with pytest.raises(Retryable):
            send(writer, *batches)
        send(writer, *batches)
        first, second = received(server)
    assert first == second


def test_series_that_vanished_is_not_sent_again(collector: WebServer) -> None:
    writer = build_writer({"endpoint": collector.url + "/v1/metrics"}, OtelWriter)
    send(writer, values(SOURCE, {"a": 1, "b": 2}), values(SOURCE, {"a": 3}), Batch(SOURCE, [], NOW))
    send(writer, Batch(SOURCE, [], NOW))
    (message,) = received(collector)
    points = metrics_of(message)["pollect.process.web_value"].gauge.data_points
    assert [attributes_of(point.attributes)["of"] for point in points] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("source", "value_name", "expected"),
    [
        (SourceId("pollect", "LoadAvg"), None, "pollect.loadavg"),
        (SourceId("pollect", "Process"), "Load_Percent", "pollect.process_load_percent"),
        (SourceId("my test", "T"), "ä", "my_test.t__"),
        (SourceId("9bad", "T"), None, "x9bad.t"),
        (SourceId("c", "T"), "n" * 300, "c.t_" + "n" * 251),
    ],
)
def test_names_are_lower_case_and_legal(source, value_name, expected) -> None:
    assert otel_name(source, value_name) == expected


def test_environment_decides_where_to_send_and_the_config_wins(
    collector: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url + "/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1,x-both=2")
    send(build_writer({}, OtelWriter), values(SOURCE, {"a": 1}))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", collector.url + "/elsewhere")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=a%20b, x-more = c")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")
    send(build_writer({}, OtelWriter), values(SOURCE, {"a": 1}))
    section = {"endpoint": collector.url + "/v1/metrics", "headers": {"x-key": "mine"}}
    send(build_writer(section, OtelWriter), values(SOURCE, {"a": 1}))
    general, specific, configured = collector.requests
    assert general.path == "/v1/metrics"
    assert (general.headers["x-general"], general.headers["x-both"]) == ("1", "2")
    assert general.headers["Content-Encoding"] == "gzip"
    assert general.headers["Content-Type"] == "application/x-protobuf"
    assert specific.path == "/elsewhere"
    assert (specific.headers["x-key"], specific.headers["x-more"]) == ("a b", "c")
    assert specific.headers["Content-Encoding"] is None
    assert (configured.path, configured.headers["x-key"]) == ("/v1/metrics", "mine")


def test_resource_says_who_sends_and_stays_the_same(
    collector: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = {"endpoint": collector.url + "/v1/metrics"}
    send(build_writer(endpoint, OtelWriter), values(SOURCE, {"a": 1}))
    send(build_writer(endpoint, OtelWriter), values(SOURCE, {"a": 1}))
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment=my%20lab")
    send(build_writer(endpoint, OtelWriter), values(SOURCE, {"a": 1}))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chosen")
    own = {**endpoint, "instance": "one", "resourceAttributes": {"rack": "7"}}
    send(build_writer(own, OtelWriter), values(SOURCE, {"a": 1}))
    first, again, other, chosen = (
        attributes_of(message.resource_metrics[0].resource.attributes)
        for message in received(collector)
    )
    assert first == again
    assert first["service.name"] == "pollect"
    assert first["service.instance.id"] == first["host.name"]
    assert (other["service.name"], other["deployment"]) == ("other", "my lab")
    assert (chosen["service.name"], chosen["rack"]) == ("chosen", "7")
    assert chosen["service.instance.id"] == "one"


def test_disabled_by_the_environment_sends_nothing(
    collector: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "TRUE")
    send(build_writer({"endpoint": collector.url + "/v1/metrics"}, OtelWriter), counted(SOURCE, 1))
    assert collector.requests == []


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "-1"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "x"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_nonsense_in_the_environment_is_a_config_error(variable, text, monkeypatch) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError):
        build_writer({}, OtelWriter)


def test_points_the_collector_refused_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 2
    answer.partial_success.error_message = "too old"
    remark = ExportMetricsServiceResponse()
    remark.partial_success.error_message = "please upgrade"
    answers = [answer.SerializeToString(), *[remark.SerializeToString()] * 2, b"not protobuf"]
    with serve_http({"/v1/metrics": lambda request: web.Answer(answers.pop(0))}) as server:
        writer = build_writer({"endpoint": server.url + "/v1/metrics"}, OtelWriter)
        with pytest.raises(Rejected, match="too old") as caught:
            send(writer, values(SOURCE, {"a": 1, "b": 2, "c": 3}))
        assert caught.value.lost == 2
        for _ in range(3):
            send(writer, values(SOURCE, {"a": 1}))
    assert [record.getMessage() for record in caplog.records if "upgrade" in record.message] == [
        f"{server.url}/v1/metrics remarks: please upgrade"
    ]


def test_request_that_is_too_large_is_sent_in_parts() -> None:
    def small_only(request: web.Request) -> web.Answer:
        points = metrics_of(decode(request))["pollect.process.web_value"].gauge.data_points
        return web.Answer("", 200 if len(points) <= 30 else 413)

    with serve_http({"/v1/metrics": small_only}) as server:
        writer = build_writer({"endpoint": server.url + "/v1/metrics"}, OtelWriter)
        send(writer, values(SOURCE, {str(number): number for number in range(100)}))


def test_headers_of_the_config_never_show() -> None:
    section = {"endpoint": "http://127.0.0.1:1/v1/metrics", "headers": {"Authorization": "hush"}}
    writer = build_writer(section, OtelWriter)
    with pytest.raises(Retryable) as caught:
        send(writer, values(SOURCE, {"a": 1}))
    assert "hush" not in f"{writer.config!r} {caught.value!r} {vars(writer)!r}"


@pytest.mark.integration
def test_real_collector_takes_gauges_and_sums(rotel: Rotel, source: SourceId) -> None:
    writer = build_writer({"endpoint": rotel.endpoint}, OtelWriter)
    send(writer, values(source, {"a": 1.5}), counted(source, 7))
    name = source.dotted.lower()
    wait_until(lambda: f"{name}_bytes_sent" in rotel.output(), limit_seconds=60)
    output = rotel.output()
    assert re.search(rf"Name: {name}_value\b", output), output[-3000:]
    assert "service.instance.id" in output
    assert re.search(r"IsMonotonic: true", output), output[-3000:]
    assert re.search(r"Value: 7", output), output[-3000:]


@pytest.mark.parametrize(
    ("status", "repeated"),
    [
        *((status, True) for status in (429, 502, 503, 504)),
        *((status, False) for status in (400, 404, 408, 425, 500, 501, 505, 507)),
    ],
)
def test_only_what_the_specification_calls_retryable_is_repeated(
    status: int, repeated: bool
) -> None:
    with serve_http({"/v1/metrics": web.Answer("no", status)}) as server:
        writer = build_writer({"endpoint": server.url + "/v1/metrics"}, OtelWriter)
        with pytest.raises(Retryable if repeated else Rejected):
            send(writer, values(SOURCE, {"a": 1}))
