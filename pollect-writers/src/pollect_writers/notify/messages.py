"""Messages: what people get to read, by templates with `{placeholders}`."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from pollect.api import ConfigError
from pollect_writers.notify.incidents import Incident
from pollect_writers.notify.words import format_duration, format_time

State: TypeAlias = Literal["problem", "still", "over"]

DEFAULT_TITLE = "{host}: {state}: {subject}"
DEFAULT_TEXT = "{lines}"
DEFAULT_LINE = "{what}, {when}"
#: Words of `title`, of `text`, and of `line`.
MESSAGE_WORDS = ("host", "state", "count", "subject")
TEXT_WORDS = (*MESSAGE_WORDS, "lines")
LINE_WORDS = (
    *("what", "when", "alert", "summary", "source", "metric", "labels", "value", "limit"),
    *("since", "lasted"),
)
#: Lines of one message; the others are counted.
MOST_LINES = 20
LONGEST_TITLE = 120
LONGEST_LINE = 500
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


class Message(msgspec.Struct):
    """One message on its way."""

    number: int
    state: State
    title: str
    text: str
    #: Names of the targets that have not taken it yet; no address.
    targets: list[str]


class Templates(msgspec.Struct, frozen=True):
    """The three texts of a config; `check` was called."""

    title: str = DEFAULT_TITLE
    text: str = DEFAULT_TEXT
    line: str = DEFAULT_LINE

    def check(self) -> None:
        """Raise `ConfigError` for a placeholder that does not exist."""
        _check(self.title, MESSAGE_WORDS, "title")
        _check(self.text, TEXT_WORDS, "text")
        _check(self.line, LINE_WORDS, "line")

    def write(
        self, state: State, incidents: Sequence[Incident], *, host: str, now: float, offset: float
    ) -> tuple[str, str]:
        """Return title and text; `now` is monotonic, plus `offset` it is Unix time."""
        lines = [
            _cut(_fill(self.line, _words_of(one, state, now, offset)), LONGEST_LINE)
            for one in incidents
        ]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"and {len(lines) - MOST_LINES} more"]
        first = incidents[0]
        subject = _what(first, state) if len(incidents) == 1 else f"{len(incidents)} alerts"
        words = {
            "host": host,
            "state": state,
            "count": str(len(incidents)),
            "subject": subject,
            "lines": "\n".join(lines),
        }
        return _cut(_fill(self.title, words), LONGEST_TITLE), _fill(self.text, words)


def _what(incident: Incident, state: State) -> str:
    """Return what is wrong; of a source that is well again without the reason, which is over."""
    if state == "over" and not incident.metric and incident.what.startswith(incident.source):
        rest = incident.what.removeprefix(incident.source)
        return incident.source + rest.partition(": ")[0]
    return incident.what


def _words_of(incident: Incident, state: State, now: float, offset: float) -> Mapping[str, str]:
    since = format_time(incident.began + offset)
    end = now if incident.over is None else incident.over
    lasted = format_duration(end - incident.began)
    what = _what(incident, state)
    if incident.summary:
        what = f"{incident.summary}: {what}"
    if state == "over" and incident.value:
        when = f"over after {lasted}, now {incident.value}"
    else:
        when = f"over after {lasted}" if state == "over" else f"since {since}"
    return {
        "what": what,
        "when": when,
        "alert": incident.alert,
        "summary": incident.summary,
        "source": incident.source,
        "metric": incident.metric,
        "labels": incident.labels,
        "value": incident.value,
        "limit": incident.limit,
        "since": since,
        "lasted": lasted,
    }


def _fill(template: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), template)


def _check(template: str, known: Collection[str], key: str) -> None:
    for name in _PLACEHOLDER.findall(template):
        if name not in known:
            words = ", ".join(f"{{{word}}}" for word in known)
            raise ConfigError(f"unknown placeholder {{{name}}}", key=key, hint=f"there are {words}")
    if not template.strip():
        raise ConfigError("expected a text, got nothing", key=key)


def _cut(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
