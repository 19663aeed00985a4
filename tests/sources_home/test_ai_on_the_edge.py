"""AiOnTheEdge against a simulated device, and the answers that real ones gave."""

import json
import threading
import time
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpRequest,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
    serve_http,
)
from pollect_sources_home.ai_on_the_edge.source import AiOnTheEdgeSource
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.driver import opened, patience_for

READING = {
    "value": "521.171",
    "raw": "00521.171",
    "pre": "521.17",
    "error": "no error",
    "rate": "0.02378",
    "timestamp": "2026-01-13T16:00:42+0100",
}
#: Unix time of the reading.
READ_AT = 1768316442.0
STARTING = "Flow not (yet) started: REST API /json not yet available!"


def series(answer: Any, **more: Any) -> dict[str, float]:
    with serve_http({"/json": answer}) as device:
        section = {"host": device.host, "port": device.port, **more}
        with opened(section, AiOnTheEdgeSource) as source:
            return source.series()


def of_main(**fields: Any) -> dict[str, float]:
    """Return the values of a reading by their type."""
    found = series({"main": {**READING, **fields}})
    return {name.removeprefix('{type="').removesuffix('"}'): found[name] for name in found}


def test_exposition(golden) -> None:
    answer = {"main": READING, "gas": {**READING, "value": "", "error": "Rate too high"}}
    clock = FakeClock(time=READ_AT + 90)
    with serve_http({"/json": answer}) as device:
        section = {"host": device.host, "port": device.port, "value": "all", "details": True}
        source = build_source(section, AiOnTheEdgeSource, clock=clock)
        with Running(source) as running:
            golden("AiOnTheEdge.txt", format_samples(source, running.probe()))


def test_reading_rate_and_error() -> None:
    assert of_main() == {"value": 521.171, "rate": 0.02378, "pre": 521.17, "error": 0}


@pytest.mark.parametrize("value", ["", "0", "0.000", 0, "12N.4", "nan", "inf", None, True, "1_0"])
def test_a_reading_that_is_zero_or_none_is_left_out(value: Any) -> None:
    assert of_main(value=value) == {"rate": 0.02378, "pre": 521.17, "error": 0}


def test_an_empty_rate_is_zero_and_one_that_makes_no_sense_is_left_out() -> None:
    assert of_main(rate="")["rate"] == 0
    for rate in ("nan", "inf", "-nan", None):
        assert "rate" not in of_main(rate=rate)
    assert of_main(rate="-0.5")["rate"] == -0.5


def test_the_reading_before_is_left_out_where_it_is_empty() -> None:
    assert "pre" not in of_main(pre="")
    assert of_main(pre=0)["pre"] == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [("no error", 0), ("No Error", 1), ("", 1), ("Neg. Rate - Read: 1 - Pre: 2", 1)],
)
def test_only_the_words_no_error_are_none(error: str, expected: float) -> None:
    assert of_main(error=error)["error"] == expected


def test_fields_that_are_missing_cost_only_themselves() -> None:
    assert series({"main": {"pre": "5"}}) == {'{type="pre"}': 5}


def test_several_number_sequences_have_a_label() -> None:
    answer = {"main": {"value": "1"}, "gas": {"value": "2"}, "water": {"value": "3"}}
    assert series(answer, value="gas") == {'{type="value"}': 2}
    assert series(answer, value=["gas"]) == {'{type="value",number="gas"}': 2}
    assert series(answer, value="all") == {
        '{type="value",number="main"}': 1,
        '{type="value",number="gas"}': 2,
        '{type="value",number="water"}': 3,
    }


def test_an_unknown_number_sequence_names_those_there_are() -> None:
    with pytest.raises(BadResponse, match="no number sequence main, there are: gas, water"):
        series({"gas": {}, "water": {}})


def test_one_of_several_that_is_missing_is_reported_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = series({"gas": {"value": "2"}}, value=["gas", "main"])
    assert found == {'{type="value",number="gas"}': 2}
    assert "main: no such number sequence, there are: gas" in caplog.text


def test_what_is_no_sequence_and_no_text_or_time_is_named() -> None:
    main = {"value": "1.5", "error": 7, "timestamp": "yesterday"}
    with serve_http({"/json": {"main": main, "cold": None}}) as server:
        section = {"host": f"{server.address}", "value": "all", "details": True}
        with opened(section, AiOnTheEdgeSource) as source:
            assert source.series() == {'{type="value",number="main"}': 1.5}
            assert source.source.troubles.texts() == (
                "cold: expected an object, got None",
                "values of main: error: expected a text, got 7; "
                "timestamp: expected a time as of ISO 8601, got 'yesterday'",
            )


@pytest.mark.parametrize("host", ["192.0.2.1:8080", "[2001:db8::1]:8080", "http://192.0.2.1:8080/"])
def test_a_port_behind_the_host_counts(host: str) -> None:
    source: Any = build_source({"host": host}, AiOnTheEdgeSource)
    assert source._url == f"http://{host.removeprefix('http://').rstrip('/')}/json"


def test_values_that_cannot_be_read_are_a_trouble_of_their_sequence() -> None:
    answer = {
        "main": {"value": "12.5", "rate": "fast", "pre": "", "raw": "x", "error": "no error"},
        "cold": {"value": "1.5", "rate": "nan", "pre": "1.4", "error": "no error"},
    }
    with serve_http({"/json": answer}) as server:
        with opened(
            {"host": server.host, "port": server.port, "value": "all"}, AiOnTheEdgeSource
        ) as source:
            assert '{type="value",number="main"}' in source.series()
            assert source.source.troubles.texts() == (
                "values of main: rate: expected a number, got 'fast'",
            )


def test_age_counts_from_the_time_of_the_reading() -> None:
    clock = FakeClock(time=READ_AT + 3600)
    reading: dict[str, Any] = dict(READING)
    with serve_http({"/json": lambda _: HttpResponse({"main": reading})}) as device:
        section = {"host": device.host, "port": device.port, "details": True}
        with opened(section, AiOnTheEdgeSource, clock=clock) as source:
            assert source.series()['{type="age"}'] == 3600
            assert source.series()['{type="raw"}'] == 521.171
            for unusable in ("", "2026-01-13T16:00:42", "yesterday", 5):
                reading["timestamp"] = unusable
                assert '{type="age"}' not in source.series()
            reading["raw"] = "005N1.171"
            assert '{type="raw"}' not in source.series()


def test_recorded_answer_of_the_manual(recording) -> None:
    found = series(json.loads(recording("ai_on_the_edge/json_ok.json")))
    assert found == {
        '{type="value"}': 521.17108,
        '{type="rate"}': 0.02378,
        '{type="pre"}': 521.17108,
        '{type="error"}': 0,
    }


def test_recorded_objects_of_firmware_10_to_13(recording) -> None:
    lines = recording("ai_on_the_edge/number_objects.jsonl").decode().splitlines()
    found = [series({"main": json.loads(line)}) for line in lines]
    assert found == [
        {'{type="rate"}': 0, '{type="error"}': 1},
        {'{type="value"}': 6447.2, '{type="rate"}': 0.003651, '{type="error"}': 0},
        {'{type="value"}': 512.302, '{type="rate"}': 0, '{type="error"}': 0},
    ]


def test_recorded_answers_that_are_not_json_are_bad_responses(recording) -> None:
    for line in recording("ai_on_the_edge/malformed_13.0.5.txt").decode().splitlines():
        with pytest.raises(BadResponse, match="expected JSON"):
            series('{"main": ' + line + "}")


def test_recorded_error_texts_are_errors(recording) -> None:
    for line in recording("ai_on_the_edge/errors.txt").decode().splitlines():
        assert of_main(error=line)["error"] == 1


def test_recorded_log_with_rates_that_are_no_numbers(recording) -> None:
    for line in recording("ai_on_the_edge/datalog_13.0.7.csv").decode().splitlines():
        time, number, raw, value, pre, rate, _, error, *_ = line.split(",")
        reading = {"raw": raw, "value": value, "pre": pre, "rate": rate, "error": error}
        found = series({number: {**reading, "timestamp": time}}, value=number)
        expected = {'{type="value"}': 404.6396, '{type="pre"}': 404.6396, '{type="error"}': 0}
        assert found == expected | ({} if rate == "nan" else {'{type="rate"}': 0})


def test_a_device_that_starts_is_unavailable_and_no_matter_of_passwords() -> None:
    with pytest.raises(TargetUnavailable, match="has not finished its first round"):
        series(HttpResponse(STARTING, status=403))


def test_another_refusal_is_one() -> None:
    with pytest.raises(AuthenticationFailed, match="refused with status 403: go away"):
        series(HttpResponse("go away", status=403))


def test_user_and_password() -> None:
    def guarded(request: HttpRequest) -> HttpResponse:
        known = request.headers["Authorization"] == "Basic YWRtaW46c2VjcmV0"
        return HttpResponse({"main": READING}) if known else HttpResponse("", status=401)

    assert series(guarded, user="admin", password="secret")
    with pytest.raises(AuthenticationFailed, match="set `user` and `password`"):
        series(guarded)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"host": "a b"}, "host"),
        ({"host": "h", "port": 0}, "port"),
        ({"host": "h", "value": ""}, "value"),
        ({"host": "h", "value": []}, "value"),
        ({"host": "h", "password": "x"}, "user"),
    ],
)
def test_options_that_make_no_sense_are_config_errors(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source(options, AiOnTheEdgeSource)
    problems = getattr(failure.value, "problems", [failure.value])
    assert [problem.key for problem in problems] == [key]


def test_two_sources_of_one_device_never_ask_at_once() -> None:
    busy, most = 0, 0
    lock = threading.Lock()

    def slowly(_: HttpRequest) -> HttpResponse:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.1)
        with lock:
            busy -= 1
        return HttpResponse({"main": {"value": "1"}, "gas": {"value": "2"}})

    with serve_http({"/json": slowly}) as device:
        section = {"host": device.host, "port": device.port}
        with (
            opened(section, AiOnTheEdgeSource) as one,
            opened({**section, "value": "gas"}, AiOnTheEdgeSource) as other,
        ):
            threads = [threading.Thread(target=source.series) for source in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert most == 1


def test_a_source_that_waits_for_its_turn_in_vain_says_so() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slowly(_: HttpRequest) -> HttpResponse:
        asked.set()
        go_on.wait(60)
        return HttpResponse({"main": READING})

    with serve_http({"/json": slowly}) as device:
        section = {"host": device.host, "port": device.port}
        with (
            opened({**section, "timeout": 60}, AiOnTheEdgeSource) as slow,
            opened({**section, "timeout": 0.1}, AiOnTheEdgeSource) as hasty,
        ):
            thread = threading.Thread(target=slow.series)
            thread.start()
            assert asked.wait(60)
            with pytest.raises(TargetUnavailable, match="another source is still waiting"):
                hasty.series()
            go_on.set()
            thread.join()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Misbehaviour.SILENT, TargetUnavailable),
        (Misbehaviour.TRICKLE, TargetUnavailable),
        (Misbehaviour.HANG_UP, TargetUnavailable),
        (Misbehaviour.CUT_SHORT, BadResponse),
        (Misbehaviour.RUBBISH, BadResponse),
        (HttpResponse("", status=404), BadResponse),
        ("[1]", BadResponse),
        ("{}", BadResponse),
        ('{"main": "text"}', BadResponse),
        ('{"main": {"value": "' + "1" * 70_000 + '"}}', BadResponse),
    ],
    ids=["hung", "slow loris", "reset", "cut short", "no HTTP", "404", "a list", "empty", "text",
         "too large"],
)  # fmt: skip
def test_a_device_that_breaks_fails_in_time_and_recovers(how: Any, error: type[ProbeError]) -> None:
    with serve_http({"*": how}) as device:
        section = {"host": device.host, "port": device.port, "timeout": patience_for(error)}
        with opened(section, AiOnTheEdgeSource) as source:
            begin = time.monotonic()
            with pytest.raises(error):
                source.series()
            assert time.monotonic() - begin < IN_TIME_SECONDS
            device.routes = {"/json": {"main": READING}}
            assert len(source.series_at_last()) == 4
