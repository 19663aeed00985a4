"""Include and exclude lists of names, as many sources have them in their config."""

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import TypeAlias

from pollect.plugin import Name

#: Type of a config field that takes such a list: one name, several, or nothing.
Names: TypeAlias = tuple[Name, ...] | Name | None


class NameFilter:
    """Decides which names to keep.

    An empty list counts as not given; `exclude` wins over `include`. Entries with `*`, `?` or `[`
    are shell patterns, others must equal the whole name.
    """

    def __init__(
        self,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        *,
        ignore_case: bool = False,
    ) -> None:
        self._include = _compile(include, ignore_case=ignore_case)
        self._exclude = _compile(exclude, ignore_case=ignore_case)

    def accepts(self, name: str) -> bool:
        """Return whether to keep `name`."""
        if self._exclude and self._exclude.fullmatch(name):
            return False
        return self._include is None or self._include.fullmatch(name) is not None


def _compile(names: Sequence[str] | None, *, ignore_case: bool) -> re.Pattern[str] | None:
    if not names:
        return None
    entries = [names] if isinstance(names, str) else names
    patterns = (translate(name) if set(name) & set("*?[") else re.escape(name) for name in entries)
    return re.compile("|".join(patterns), re.IGNORECASE if ignore_case else 0)
