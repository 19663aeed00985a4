"""The log: one line per event, as in pollect 1.x, or one JSON object per line.

`I 2026-11-22 15:33:45 [pollect/LoadAvg] message`; colours on a terminal only. On standard error,
which leaves standard output to writers. Where that leads to the journal, each line begins with its
priority (sd-daemon(3)).
"""

import logging
import os
import sys
from types import TracebackType
from typing import IO

from pollect.text import visible_text

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

#: Numbers of syslog(3).
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
_RESET = "\033[0m"
_COLOURS = {
    logging.DEBUG: "\033[90m",
    logging.WARNING: "\033[33m",
    logging.ERROR: "\033[31m",
    logging.CRITICAL: "\033[31m",
}
#: Characters of one message and of one traceback; the text of an error may be a whole answer.
LONGEST_MESSAGE, LONGEST_TRACEBACK = 8_000, 32_000


def set_up_logging(level: str, *, style: str = "text", stream: IO[str] | None = None) -> None:
    """Send every record of at least `level` to `stream`, by default standard error."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    formatter = JsonFormatter() if style == "json" else TextFormatter(_colourful(stream))
    handler.setFormatter(JournalFormatter(formatter) if _is_journal(stream) else formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... ({len(text) - longest} characters left out) ... {text[-half:]}"


class _Formatter(logging.Formatter):
    """Keeps what plugins and devices say from flooding or forging the log."""

    def message_of(self, record: logging.LogRecord) -> str:
        return _cut(record.getMessage(), LONGEST_MESSAGE)

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return _cut(super().formatException(ei), LONGEST_TRACEBACK)


class TextFormatter(_Formatter):
    """First letter of the level, time, logger, message; all further lines are indented."""

    def __init__(self, colourful: bool = False) -> None:
        super().__init__()
        self._colourful = colourful

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        line = f"{record.levelname[0]} {time} [{record.name}] {self.message_of(record)}"
        # A traceback ends with the text of the error, which may come from a device.
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            line += f"\n{self.formatStack(record.stack_info)}"
        line = visible_text(line).replace("\n", "\n  ")
        colour = _COLOURS.get(record.levelno) if self._colourful else None
        return f"{colour}{line}{_RESET}" if colour else line


class JsonFormatter(_Formatter):
    """Time as RFC 3339 with milliseconds, level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        fields = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}"
            + self.formatTime(record, "%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class JournalFormatter(logging.Formatter):
    """Puts the priority of a record in front of each of its lines, `<4>` for a warning."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        lines = self._inner.format(record).split("\n")
        return "\n".join(f"<{priority}>{line}" for line in lines)


def _is_journal(stream: IO[str]) -> bool:
    """Whether a stream leads to the journal: systemd.exec(5), `JOURNAL_STREAM`."""
    wanted = os.environ.get("JOURNAL_STREAM")
    if not wanted:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def _colourful(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
