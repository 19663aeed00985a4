"""Writer InfluxDb: a real InfluxDB 1 and VictoriaMetrics, and the answers of versions 2 and 3."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pollect.api import Batch, ConfigError, Kind, Metric, Rejected, Retryable, SourceId, Writer
from pollect.testing import build_writer
from pollect_writers.influx_db import RESERVED, InfluxDbWriter, build_lines, count_refused
from tests.simulators import web
from tests.simulators.web import serve_http
from tests.writers.samples import BYTES, NOW, numbered, values
from tests.writers.servers import Influx, VictoriaMetrics

NOW_MS = int(NOW * 1000)
SOURCE = SourceId("pollect", "Interface", "lan")


def influx_writer(server: Influx, **section: Any) -> Writer[Any]:
    return build_writer(
        {"url": server.url, "version": 1, "database": server.database, **section}, InfluxDbWriter
    )


def write(writer: Writer[Any], *batches: Batch) -> None:
    writer.open()
    try:
        writer.write(batches)
    finally:
        writer.close()


@pytest.mark.integration
def test_real_influxdb_stores_value_tags_and_time(influx: Influx, source: SourceId) -> None:
    metric = Metric("speed", labels=("path", "empty"))
    awkward = '/a b,c=d\\e"f°'
    samples = [
        metric.sample(1, awkward, ""),
        metric.sample(2.5, "x\\", "", time=NOW + 1.25),
        Metric(None).sample(1e300),
        BYTES.sample(7, "eth0"),
    ]
    write(influx_writer(influx), Batch(source, samples, NOW, (("site", "home"),)))
    name = f"pollect_Test_{source.name}"
    series = influx.query(f'SELECT * FROM "{name}" GROUP BY *')
    found = {
        (tuple(sorted((k, v) for k, v in row["tags"].items() if v)), column, point[0]): point[i]
        for row in series
        for point in row["values"]
        for i, column in enumerate(row["columns"])
        if i and point[i] is not None
    }
    assert found == {
        ((("path", awkward), ("site", "home")), "speed", NOW_MS): 1,
        ((("path", "x"), ("site", "home")), "speed", NOW_MS + 1250): 2.5,
        ((("site", "home"),), "value", NOW_MS): 1e300,
        ((("nic", "eth0"), ("site", "home")), "bytes_sent", NOW_MS): 7,
    }


@pytest.mark.integration
def test_repeated_delivery_stores_nothing_twice(influx: Influx, source: SourceId) -> None:
    batches = [numbered(source, number) for number in range(5)]
    write(influx_writer(influx), *batches)
    write(influx_writer(influx, compression="none"), *batches)
    (series,) = influx.query(f'SELECT value FROM "pollect_Test_{source.name}"')
    assert [point[1] for point in series["values"]] == [0, 1, 2, 3, 4]


@pytest.mark.integration
def test_database_that_is_missing_keeps_the_samples(influx: Influx, source: SourceId) -> None:
    with pytest.raises(Retryable, match="database not found"):
        write(influx_writer(influx, database="absent"), numbered(source, 1))


@pytest.mark.integration
def test_lines_that_conflict_are_counted_and_the_others_stored(
    influx: Influx, source: SourceId
) -> None:
    name = f"pollect_Test_{source.name}"
    text = web_request(f"{influx.url}/write?db={influx.database}", f'{name} bad="text"')
    assert text == 204
    samples = [Metric("bad").sample(1), Metric("good").sample(2)]
    time = float(influx.query(f'SELECT * FROM "{name}"')[0]["values"][0][0]) / 1000
    with pytest.raises(Rejected, match="field type conflict") as caught:
        write(influx_writer(influx), Batch(source, samples, time))
    assert caught.value.lost == 1
    (series,) = influx.query(f'SELECT good FROM "{name}"')
    assert [point[1] for point in series["values"]] == [2]


@pytest.mark.integration
@pytest.mark.parametrize("section", [{"version": 1, "database": "d"}, {"bucket": "b", "org": "o"}])
def test_victoria_metrics_takes_both_of_its_endpoints(
    victoria_metrics: VictoriaMetrics, source: SourceId, section: Mapping[str, Any]
) -> None:
    writer = build_writer({"url": victoria_metrics.url, **section}, InfluxDbWriter)
    write(writer, values(source, {"a": 1, "b": 2.5}))
    rows = victoria_metrics.export(f'{{__name__="pollect_Test_{source.name}_value"}}')
    assert {row["metric"]["of"]: (row["values"], row["timestamps"]) for row in rows} == {
        "a": ([1], [NOW_MS]),
        "b": ([2.5], [NOW_MS]),
    }


@pytest.mark.parametrize(
    ("section", "path", "authorization"),
    [
        (
            {"version": 1, "database": "d", "retentionPolicy": "r", "user": "u", "password": "p"},
            "/write?db=d&precision=ms&rp=r",
            "Basic dTpw",
        ),
        (
            {"bucket": "my bucket", "org": "o", "token": "t"},
            "/api/v2/write?bucket=my+bucket&precision=ms&org=o",
            "Token t",
        ),
        (
            {"version": 3, "database": "d", "token": "t"},
            "/api/v3/write_lp?db=d&precision=millisecond",
            "Bearer t",
        ),
    ],
)
def test_each_version_has_its_path_and_credentials(section, path, authorization) -> None:
    with serve_http({path.partition("?")[0]: web.Answer("", 204)}) as server:
        write(
            build_writer({"url": server.url + "/", **section}, InfluxDbWriter), numbered(SOURCE, 1)
        )
    (request,) = server.requests
    assert (request.path, request.headers["Authorization"]) == (path, authorization)
    assert gzip.decompress(request.body) == b"pollect_Interface_lan value=1.0 1700000001000"


VERSION_3 = json.dumps(
    {
        "error": "partial write of line protocol occurred",
        "data": [{"error_message": "x", "line_number": 2, "original_line": "a"}],
    }
)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ('{"error":"partial write: field type conflict: ... dropped=2"}', 2),
        ("{\"error\":\"partial write: unable to parse 'x': bad\\nunable to parse 'y': bad\"}", 2),
        ('{"code":"unprocessable entity","message":"partial write: beyond policy dropped=1"}', 1),
        (VERSION_3, 1),
        ('{"error":"unable to parse \'b v=NaN 1\': invalid number"}', None),
    ],
)
def test_refused_lines_are_counted_as_each_version_reports_them(answer, lost) -> None:
    assert count_refused(answer) == lost
    with serve_http({"/api/v3/write_lp": web.Answer(answer, 400)}) as server:
        writer = build_writer({"url": server.url, "version": 3, "database": "d"}, InfluxDbWriter)
        with pytest.raises(Rejected) as caught:
            write(writer, *(numbered(SOURCE, number) for number in range(4)))
    assert caught.value.lost == (4 if lost is None else lost)


def test_wrong_token_keeps_the_samples() -> None:
    with serve_http({"/api/v2/write": web.Answer('{"code":"unauthorized"}', 401)}) as server:
        writer = build_writer({"url": server.url, "bucket": "b", "token": "hush"}, InfluxDbWriter)
        with pytest.raises(Retryable, match="answered 401") as caught:
            write(writer, numbered(SOURCE, 1))
        assert "hush" not in f"{caught.value} {writer.config!r}"


@pytest.mark.parametrize(
    ("section", "key"), [({}, "bucket"), ({"version": 1}, "database"), ({"version": 3}, "database")]
)
def test_option_that_the_version_needs_is_asked_for(section, key) -> None:
    with pytest.raises(ConfigError) as caught:
        build_writer(section, InfluxDbWriter)
    assert caught.value.key == key


def test_whole_numbers_are_written_as_floats() -> None:
    sample = Metric("count", kind=Kind.COUNTER).sample(5)
    assert build_lines([Batch(SOURCE, [sample], NOW)]) == [
        f"pollect_Interface_lan count=5.0 {NOW_MS}"
    ]


def web_request(url: str, body: str) -> int:
    import urllib.request

    with urllib.request.urlopen(url, body.encode(), timeout=30) as answer:
        return int(answer.status)


@pytest.mark.integration
def test_real_influxdb_takes_every_name_and_every_character(
    influx: Influx, source: SourceId
) -> None:
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0xFDD0, 0xFFFD, 0xFFFF)]
    values = [Metric(name, labels=("time",)).sample(1, "short") for name in sorted(RESERVED)]
    for label in sorted(RESERVED):
        metric = Metric("load", labels=(label,))
        values += [metric.sample(2, f"{label} {n} a{text}b") for n, text in enumerate(controls)]
    write(influx_writer(influx), Batch(source, values, NOW))
    name = f"pollect_Test_{source.name}"
    (row,) = influx.query(f'SELECT count(*) FROM "{name}"')
    counts = dict(zip(row["columns"][1:], row["values"][0][1:], strict=True))
    assert counts == {
        "count_load": len(RESERVED) * len(controls),
        **{f"count_{reserved}_": 1 for reserved in RESERVED},
    }
