"""Header fields, as peers write them."""

import sys
import time

import pytest

from pollect.support.http import HttpClient
from pollect.support.http_fields import parse_date, parse_retry_after, parse_whole
from tests.simulators.tcp import say, serve_tcp

MOMENT = 784_111_777.0
HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), (" 12 ", 12), ("-1", None), ("+1", None), ("1.5", None), ("", None), ("²", None),
     ("١", None), (HUGE, None), ("1_0", None)],
)  # fmt: skip
def test_whole_numbers(text: str, number: int | None) -> None:
    assert parse_whole(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_dates_are_in_gmt_whatever_they_say_and_wherever_this_host_is(
    text: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        assert parse_date(text) == MOMENT
    time.tzset()


@pytest.mark.parametrize("text", ["", "soon", "Sun, 99 Nov 1994 99:99:99 GMT", HUGE, "0", "- - -"])
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_a_pause_is_seconds_or_a_date() -> None:
    assert parse_retry_after("120", MOMENT) == 120
    assert parse_retry_after("Sun, 06 Nov 1994 08:51:37 GMT", MOMENT) == 120
    assert parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", MOMENT) == 0
    assert parse_retry_after("later", MOMENT) is None
    pause = parse_retry_after(HUGE, MOMENT)
    assert pause is not None
    assert 1e17 < pause <= 1e18


@pytest.mark.parametrize(
    "field",
    [
        f"Content-Length: {HUGE}",
        f"Set-Cookie: a=b; Max-Age={HUGE}",
        f"Set-Cookie: a=b; Max-Age=-{HUGE}",
        "Set-Cookie: a=b; Expires=Sun, 99 Nov 99999 99:99:99 GMT",
    ],
)
def test_a_number_without_end_in_a_header_is_passed_over(field: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\n{field}\r\n\r\nfine".encode()
    with serve_tcp(say(answer)) as server, HttpClient(timeout=30) as client:
        assert client.get_text(f"http://{server.address}/") == "fine"


def test_a_field_that_is_not_there_does_not_cost_the_parser_of_dates(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "email.utils", None)  # importing it fails
    assert parse_date(" ") is None
    assert parse_retry_after("", MOMENT) is None
