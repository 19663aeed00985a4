"""What a plugin yields, taken as far as that makes sense."""

import itertools
from collections.abc import Iterable
from typing import TypeVar

ItemT = TypeVar("ItemT")

#: More than any plugin has of anything.
MOST_ITEMS = 10_000


def taken(items: Iterable[ItemT]) -> list[ItemT]:
    """Return everything that a hook or method of a plugin yields.

    Raises `ValueError` for more than any plugin has: an iterator without end would take all memory,
    and one written in C would not even let signals through.
    """
    found = list(itertools.islice(items, MOST_ITEMS + 1))
    if len(found) > MOST_ITEMS:
        raise ValueError(f"it yields more than {MOST_ITEMS:,} items")
    return found
