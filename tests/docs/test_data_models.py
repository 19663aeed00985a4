"""The page of data models: each writer has its section, its examples are what it produces."""

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from pollect.api import UNITS, Batch, Kind, Metric, SourceId
from pollect.support.batches import encode_message
from pollect.testing import build_writer
from pollect_writers.graphite import build_paths
from pollect_writers.graphite import format_lines as format_graphite
from pollect_writers.influx_db import build_lines
from pollect_writers.json_lines import format_lines as format_json
from pollect_writers.mqtt.topics import series_topic
from pollect_writers.names import prometheus_name
from pollect_writers.otel.payload import otel_name
from pollect_writers.plugin import pollect_writers
from pollect_writers.prometheus_remote_write.payload import build_points, encode_request
from pollect_writers.sql.writer import SqlWriter
from tests.writers.backends import WriteRequest

PAGE = Path(__file__).parents[2] / "docs" / "data-models.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BATCH = Batch(
    SourceId("pollect", "Process", "web"),
    [
        Metric("load_percent", help="CPU load.", unit="percent", labels=("pidx",)).sample(
            12.5, "0"
        ),
        Metric("io_bytes_total", unit="bytes", kind=Kind.COUNTER).sample(4096),
    ],
    1_700_000_000.0,
    (("site", "home"),),
)


def sections() -> Mapping[str, str]:
    return dict(SECTION.findall(PAGE.read_text(encoding="utf-8")))


def example(writer: str) -> list[str]:
    block: str = BLOCK.findall(sections()[writer])[0][1]
    return block.splitlines()


@pytest.mark.parametrize("spec", pollect_writers(), ids=lambda spec: spec.type)
def test_every_writer_has_its_section(spec) -> None:
    assert spec.type in sections(), f"{PAGE.name} says nothing about {spec.type}"


def test_nats_example_is_the_message() -> None:
    assert example("Nats") == [encode_message(BATCH, "pi-1").decode()]


def test_prometheus_example_has_our_names_and_labels() -> None:
    assert example("Prometheus") == [
        f"{prometheus_name(BATCH.source, sample.metric)}{{{labels}}} {float(sample.value)}"
        for sample in sorted(BATCH.samples, key=lambda sample: str(sample.metric.name))
        for labels in [",".join(f'{k}="{v}"' for k, v in sorted(BATCH.labels_of(sample)))]
    ]


def test_remote_write_example_is_what_goes_over_the_wire() -> None:
    request = WriteRequest.FromString(encode_request(build_points([BATCH], {})[0]))
    assert example("PrometheusRemoteWrite") == [
        f"{{{labels}}} {sample.value} @{sample.timestamp}"
        for series in request.timeseries
        for labels in [", ".join(f'{label.name}="{label.value}"' for label in series.labels)]
        for sample in series.samples
    ]


def test_otel_example_is_what_goes_over_the_wire() -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    from pollect_writers.otel.payload import build_points, encode_request

    encoded = encode_request(build_points([BATCH], {})[0], {}, "0")
    request = ExportMetricsServiceRequest.FromString(encoded)
    lines = []
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        kind = "sum" if metric.HasField("sum") else "gauge"
        for point in getattr(metric, kind).data_points:
            labels = ", ".join(f'{a.key}="{a.value.string_value}"' for a in point.attributes)
            lines.append(f"{metric.name}{{{labels}}} {kind} {metric.unit} {point.as_double}")
    assert example("Otel") == lines
    assert otel_name(BATCH.source, "Load") == "pollect.process.web_load"
    for unit in ("By", "s", "Cel", "%", "1"):
        assert unit in {each.ucum for each in UNITS.values()}


def test_mqtt_example_has_our_topics() -> None:
    assert example("Mqtt") == [
        f"{series_topic(BATCH.source, sample, BATCH.static_labels)} {sample.value}"
        for sample in BATCH.samples
    ]


def test_line_examples_are_what_goes_over_the_wire() -> None:
    assert example("InfluxDb") == build_lines([BATCH])
    assert example("Graphite") == [
        line.rstrip() for line in format_graphite([BATCH], build_paths())
    ]
    assert example("JsonLines") == format_json([BATCH]).decode().splitlines()


def test_sql_example_is_what_its_query_gives(tmp_path: Path) -> None:
    writer = build_writer({}, SqlWriter, state_dir=tmp_path)
    writer.write([BATCH])
    writer.close()
    query = dict(BLOCK.findall(sections()["Sql"]))["sql"]
    database = sqlite3.connect(tmp_path / "history.sqlite")
    rows = database.execute(query).fetchall()
    database.close()
    assert example("Sql") == ["|".join(map(str, row)) for row in rows]
