"""What somebody probably meant who wrote a wrong option or value.

Imported at the first mistake.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from msgspec import inspect
from msgspec.inspect import Type

from pollect.config.environment import Filled
from pollect.config.words import allowed_values, choices

_NUMBER_WITH_UNIT = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*[a-zA-Zµ%]+\s*")

#: How alike an unknown word and a known one must be to suggest it, from 0 to 1.
_LIKENESS = 0.6


def correct(kind: Type, value: Any) -> str:
    """Return what the writer of a wrong value probably meant, empty if that is unclear."""
    if not isinstance(value, str) or isinstance(value, Filled):
        return ""
    for choice in choices(kind):
        if isinstance(choice, inspect.IntType | inspect.FloatType) and _NUMBER_WITH_UNIT.fullmatch(
            value
        ):
            return "write the number without its unit"
        allowed = [str(word) for word in allowed_values(choice)]
        if similar := most_similar(value, allowed):
            return f"did you mean {similar!r}?"
    return ""


def suggest(option: str, known: Sequence[str]) -> str:
    """Return the known option that is meant by an unknown one, else all that are known."""
    similar = most_similar(option, known)
    return f"did you mean {similar!r}?" if similar else f"known here: {', '.join(sorted(known))}"


def most_similar(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that was probably meant."""
    by_letters = {_letters(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(_letters(word), by_letters, n=1, cutoff=_LIKENESS)
    return by_letters[found[0]] if found else None


def _letters(word: str) -> str:
    """Return a word without what people get wrong first: case, hyphens and underscores."""
    return word.lower().replace("_", "").replace("-", "")
