"""The log's lines, for people and for programs."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from pollect.daemon.log import set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def logged(stream: io.StringIO, style: str = "text", level: str = "info") -> str:
    set_up_logging(level, style=style, stream=stream)
    logging.getLogger("pollect/Http").warning("no answer from %s", "router")
    logging.getLogger("pollect/Http").debug("detail")
    return stream.getvalue()


def test_line_has_level_time_logger_and_message() -> None:
    assert re.fullmatch(
        r"W \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[pollect/Http\] no answer from router\n",
        logged(io.StringIO()),
    )


def test_level_decides_what_is_logged() -> None:
    assert "detail" in logged(io.StringIO(), level="debug")
    assert logged(io.StringIO(), level="error") == ""


def test_terminal_gets_colours() -> None:
    assert logged(Terminal()).startswith("\033[33mW ")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_terminal_gets_none_when_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "\033" not in logged(Terminal())


def test_json_line_is_one_object_with_the_traceback() -> None:
    stream = io.StringIO()
    set_up_logging("info", style="json", stream=stream)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("pollect").exception("a bug")
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"]) == ("error", "pollect", "a bug")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}", fields["time"])
    assert "ZeroDivisionError" in fields["traceback"]


def test_text_of_a_device_forges_no_line_and_moves_no_cursor() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    logging.getLogger("pollect").warning("a\nE fake \x1b[31m\x00\r\u202e\x9b2J\tcafé")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("[pollect] a")
    assert second == "  E fake \\x1b[31m\\x00\\r\\u202e\\x9b2J\tcafé"


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_error_of_megabytes_is_cut_in_message_and_traceback(style: str) -> None:
    stream = io.StringIO()
    set_up_logging("info", style=style, stream=stream)
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError as error:
        logging.getLogger("pollect").exception("a bug: %s and its end", error)
    written = stream.getvalue()
    assert len(written) < 50_000
    assert "a bug: xxx" in written
    assert "and its end" in written


def test_the_text_of_an_error_forges_no_line_below_its_traceback() -> None:
    stream = io.StringIO()
    set_up_logging("info", stream=stream)
    try:
        raise ValueError("odd answer\nE 2026-01-01 00:00:00 [pollect] fake")
    except ValueError:
        logging.getLogger("pollect").exception("a bug")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("[pollect] a bug")
    assert others[-1].endswith("fake")
    assert all(line.startswith("  ") for line in others)
