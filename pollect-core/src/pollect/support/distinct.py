"""Names for things of which a device calls several the same.

Drives, sensors, zones and radios are known by names that their devices chose, and a device may
choose one twice. A dictionary keyed by such a name keeps only the last of them.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple


class Named(NamedTuple):
    """A thing and what it is called."""

    name: str
    #: What tells it from others of its name: an id, a position. May be empty.
    identity: object = ""
    #: Names need to differ within a group only.
    group: Hashable = None


def tell_apart(
    things: Iterable[Named],
    mark: Callable[[str, object], str] = "{}_{}".format,
    *,
    first_keeps: bool = True,
) -> list[str]:
    """Return a name for each thing, in order, no two alike within a group.

    The first of a name keeps it, whatever the others become: `Fan`, `Fan_2` for the identity 2.
    Without an identity, or when that is taken as well, a running number from 2 on is appended.
    `mark` makes a name of a name and what is appended. Where things come in no order that lasts,
    set `first_keeps` to False: then all of one name get their identity.
    """
    things = list(things)
    # Before anything is renamed, so that no thing loses a name of its own to the second of another.
    counts = Counter((thing.group, thing.name) for thing in things)
    taken = set(counts)
    kept = set() if first_keeps else {key for key, count in counts.items() if count > 1}
    numbers: dict[tuple[Hashable, str], int] = {}
    names = []
    for thing in things:
        name = thing.name
        if (thing.group, name) in kept:
            if str(thing.identity):
                name = mark(name, thing.identity)
            base, number = name, numbers.get((thing.group, name), 1)
            while name == thing.name or (thing.group, name) in taken:
                number += 1
                name = mark(base, number)
            numbers[thing.group, base] = number
            taken.add((thing.group, name))
        kept.add((thing.group, name))
        names.append(name)
    return names


def shorten_apart(names: Iterable[str], shorten: Callable[[str], str]) -> dict[str, str]:
    """Return a label for each name: its short form, if it has that for itself.

    Of several names with one short form the one that looks like it, or else the first in the
    alphabet, gets it; the others stay as they are. A short form never looks like another name.
    """
    labels: dict[str, str] = {}
    owners: dict[str, str] = {}
    names = list(names)
    for name in sorted(names, key=lambda name: (name != shorten(name), name)):
        owners.setdefault(shorten(name), name)
    for name in names:
        short = shorten(name)
        labels[name] = short if owners[short] == name else name
    return labels
