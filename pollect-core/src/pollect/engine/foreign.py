"""Ids for sources that do not go by the one of this config: of other daemons, or of 1.x."""

import threading
from collections.abc import Iterable
from typing import TypeAlias

from pollect.model import SourceId

#: Which daemon a source is of, or which source names itself, and its id there.
Origin: TypeAlias = tuple[str, SourceId]


class Foreign:
    """Hands out ids that no other source has.

    Writers keep one set of series for each id. Two hosts with the same config have equal ids, told
    apart by labels only, so that each gets an instance of its own, which no name shows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local: frozenset[SourceId] = frozenset()
        self._taken: dict[SourceId, Origin] = {}

    def follow(self, local: Iterable[SourceId]) -> None:
        """Take note of the sources that this daemon probes itself."""
        self._local = frozenset(local)

    def is_free(self, name: SourceId) -> bool:
        """Whether no source of this daemon has this id."""
        return name not in self._local

    def name(self, origin: Origin) -> SourceId:
        """Return an id for such a source that no other has: its own if possible."""
        wanted = origin[1]
        with self._lock:
            while wanted in self._local or self._taken.get(wanted, origin) != origin:
                wanted = wanted._replace(instance=wanted.instance + 1)
            self._taken[wanted] = origin
        return wanted

    def release(self, name: SourceId) -> None:
        """Let another source have this id."""
        with self._lock:
            self._taken.pop(name, None)
