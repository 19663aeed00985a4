"""The fields of an answer of a FRITZ!Box, each of which may be missing or make no sense. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pollect.api import Metric, Sample


class Answer:
    """The out arguments of an action by name; notes in `problems` what of them cannot be read."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self.problems: list[str] = []

    def optional(self, name: str) -> str:
        """Return a field that not every box has as text; empty without it."""
        value = self._fields.get(name)
        return "" if value is None else str(value)

    def text(self, name: str) -> str | None:
        """Return a field as text, None if it is missing."""
        value = self._fields.get(name)
        if value is None:
            self.problems.append(f"expected {name} among the fields")
            return None
        return str(value)

    def number(self, name: str, factor: float = 1) -> float | None:
        """Return a whole number times `factor`, None if it is missing or something else."""
        text = self.text(name)
        try:
            return None if text is None else int(text) * factor
        except ValueError:
            self.problems.append(f"{name}: expected a number, got {text!r:.40}")
            return None

    def flag(self, name: str) -> float | None:
        """Return a boolean as 1 or 0, None if it is missing or something else."""
        text = self.text(name)
        found = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}.get((text or "").lower())
        if text is not None and found is None:
            self.problems.append(f"{name}: expected true or false, got {text!r:.40}")
        return found

    def is_word(self, name: str, word: str) -> float | None:
        """Return 1 if a field is `word`, else 0; None if it is missing."""
        text = self.text(name)
        return None if text is None else float(text == word)


def sample_of(metric: Metric, value: float | None, *labels: str | None) -> Iterator[Sample]:
    """Yield a sample, unless its value or a label is unknown."""
    known = [label for label in labels if label is not None]
    if value is not None and len(known) == len(labels):
        yield metric.sample(value, *known)
