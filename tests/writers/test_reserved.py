"""Names and characters that a backend has for itself or forbids: none costs a sample."""

import json

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from pollect.api import Batch, Metric, SourceId
from pollect_writers import graphite
from pollect_writers.influx_db import RESERVED, build_lines
from pollect_writers.mqtt.topics import clean_topic
from pollect_writers.names import filled_labels, free_names
from pollect_writers.otel.payload import build_points as otel_points
from pollect_writers.otel.payload import encode_request
from pollect_writers.sql.rows import build_points as sql_points

SOURCE = SourceId("home", "LoadAvg")


def one(name: str | None, labels: dict[str, str]) -> Batch:
    metric = Metric(name, labels=tuple(labels))
    return Batch(SOURCE, [metric.sample(1.5, *labels.values())], 10.0)


@pytest.mark.parametrize("label", sorted(RESERVED))
def test_influx_labels_that_the_server_has_for_itself_get_another_name(label: str) -> None:
    (line,) = build_lines([one("load", {label: "short"})])
    assert line == f"home_LoadAvg,{label}_=short load=1.5 10000"


def test_influx_value_called_time_is_another_field() -> None:
    (line,) = build_lines([one("time", {})])
    assert line == "home_LoadAvg time_=1.5 10000"


def test_new_name_of_a_label_meets_no_other() -> None:
    labels = {"time": "a", "time_": "b", "time__": "c", "x": "d"}
    freed = free_names(labels, {"time", "time__"})
    assert freed == {"time___": "a", "time_": "b", "time____": "c", "x": "d"}
    assert list(freed.values()) == list(labels.values())


CONTROLS = "".join(map(chr, (*range(1, 0x20), *range(0x7F, 0xA0))))


@pytest.mark.parametrize("character", [*CONTROLS, "\0", "+", "#", "\ufffe", "\U0010ffff", "\ufdd0"])
def test_topic_holds_no_character_for_which_brokers_hang_up(character: str) -> None:
    assert clean_topic(f"north{character}pole") == "north_pole"


def test_topic_keeps_all_other_characters() -> None:
    assert clean_topic("küche/☃/\N{REPLACEMENT CHARACTER}/😀") == "küche/☃/\ufffd/😀"


def lines_of(batch: Batch, *, tags: bool = True) -> list[str]:
    return graphite.format_lines([batch], graphite.build_paths(tags=tags))


def test_graphite_tag_called_name_and_one_without_a_name() -> None:
    (line,) = lines_of(one("x", {"name": "eth0", "": "a\tb\x01c", "y": "\x7f"}))
    assert line == "home.LoadAvg.x;name_=eth0;_=a_b_c;y=_ 1.5 10\n"
    (line,) = lines_of(one("x", {"name": "eth0"}), tags=False)
    assert line == "home.LoadAvg.x.name.eth0 1.5 10\n"


def test_sql_holds_no_nul() -> None:
    (series,) = sql_points([one("a\0b", {"path": "c\0d"})])
    assert series.name == "a\ufffdb"
    assert json.loads(series.labels) == {"path": "c\ufffdd"}


def test_otel_attributes_have_names() -> None:
    points, _ = otel_points([one("x", {"": "a"})], {})
    request = ExportMetricsServiceRequest.FromString(encode_request(points, {}, "1"))
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    assert [pair.key for pair in metric.gauge.data_points[0].attributes] == ["_"]


def test_prometheus_label_without_a_name_gets_one() -> None:
    batch = one("x", {"": "q"})
    assert filled_labels(batch, batch.samples[0]) == {"_": "q"}
