"""Pieces of PromQL: selectors, the patterns in them, and rules around an expression."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pollect.support.names import label_name

SEVERITY = "warning"
_WILD = re.compile(r"[*?\[]")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def quoted(text: str) -> str:
    """Return a string literal."""
    return f'"{text.translate(_ESCAPES)}"'


def is_pattern(text: str) -> bool:
    """Whether a text is a shell pattern and not just itself."""
    return _WILD.search(text) is not None


def regex_of(pattern: str) -> str:
    """Return a shell pattern as a regular expression of RE2, for a whole text."""
    parts, position = [], 0
    while position < len(pattern):
        letter = pattern[position]
        end = pattern.find("]", position + 2) if letter == "[" else -1
        if letter == "[" and end > 0:
            inside = pattern[position + 1 : end].replace("\\", r"\\")
            parts.append(f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
            position = end + 1
            continue
        parts.append({"*": ".*", "?": "."}.get(letter, _escaped(letter)))
        position += 1
    return "".join(parts)


def matcher(label: str, pattern: str) -> str:
    """Return what compares a label with a shell pattern."""
    if is_pattern(pattern):
        return f"{label}=~{quoted(regex_of(pattern))}"
    return f"{label}={quoted(pattern)}"


def selector(metric: str, labels: Sequence[tuple[str, str]] | Mapping[str, str]) -> str:
    """Return `name{label="value"}`, for a metric name that may be a shell pattern."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    parts = [matcher(label_name(name), value) for name, value in pairs if value != "*"]
    if is_pattern(metric):
        return f"{{{', '.join([matcher('__name__', metric), *parts])}}}"
    return f"{metric}{{{', '.join(parts)}}}" if parts else metric


def plain(text: str) -> str:
    """Return a text as a shell pattern that fits only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def alert_rule(
    name: str,
    expression: str,
    annotations: Mapping[str, str],
    for_seconds: float = 0.0,
    keep_seconds: float = 0.0,
) -> dict[str, Any]:
    """Return an alert rule as it stands in a file for Prometheus."""
    rule: dict[str, Any] = {"alert": name, "expr": expression}
    if for_seconds:
        rule["for"] = duration(for_seconds)
    if keep_seconds:
        rule["keep_firing_for"] = duration(keep_seconds)
    return {**rule, "labels": {"severity": SEVERITY}, "annotations": dict(annotations)}


def duration(seconds: float) -> str:
    """Return a duration as Prometheus writes it, whole seconds at least: `1h30m`."""
    left, text = max(0, round(seconds)), ""
    for size, name in _UNITS:
        if left >= size:
            text += f"{left // size}{name}"
            left %= size
    return text or "0s"


def _escaped(letter: str) -> str:
    return f"\\{letter}" if letter in r"\.+*?()|[]{}^$" else letter
