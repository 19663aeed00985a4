"""`chunks` and `put_if_absent` of pollect 1.x."""

from collections.abc import Iterator, MutableMapping, Sequence
from typing import TypeVar

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")


def chunks(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    """Yield `items` in pieces of `size`; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def put_if_absent(dict_obj: MutableMapping[KeyT, ItemT], key: KeyT, value: ItemT) -> ItemT:
    """Return what `key` has, after giving it `value` if it had nothing."""
    return dict_obj.setdefault(key, value)
