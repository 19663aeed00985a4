"""Which sources this daemon may probe now, and the epoch in which it may."""

import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from pollect.fleet.shards import shard_of
from pollect.model import SourceId

T = TypeVar("T")


class Epoch(NamedTuple):
    """The order of ownership of one shard: a later owner has a larger one.

    `generation` changes when the engine lost its data and its revisions started at 1 again.
    """

    generation: int
    revision: int


#: The epoch of what every daemon probes, and of what a static shard owns.
ALWAYS = Epoch(0, 0)


class Member(NamedTuple):
    """How one source takes part in a fleet."""

    source: SourceId
    #: One daemon of the fleet probes it; otherwise every daemon does.
    shared: bool = True
    #: It must not be probed by a daemon that cannot prove its lease, as its device has one session.
    exclusive: bool = False


class Shards:
    """The shard of every source of a config, and whether it is exclusive."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._places: Mapping[SourceId, tuple[int, bool]] = {}

    def follow(self, members: Iterable[Member]) -> None:
        """Take the sources of a config, in place of those before."""
        self._places = {
            member.source: (shard_of(member.source, self.count), member.exclusive)
            for member in members
            if member.shared
        }

    def place(self, source: SourceId) -> tuple[int, bool] | None:
        """Return shard and exclusiveness of a source, None for one that every daemon probes."""
        return self._places.get(source)

    def counts(self) -> Mapping[int, int]:
        """Return how many sources each shard has that has any."""
        return Counter(shard for shard, _ in self._places.values())

    @property
    def sources(self) -> int:
        """How many sources there are in all shards."""
        return len(self._places)

    def sources_in(self, shards: Iterable[int]) -> int:
        """Return how many sources are in these shards."""
        wanted = frozenset(shards)
        return sum(shard in wanted for shard, _ in self._places.values())


class StaticOwnership:
    """The sources of one static shard: nothing moves and there is no engine."""

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.shards = Shards(count)

    def owned(self, source: SourceId) -> Epoch | None:
        """Return the epoch in which this daemon may probe a source, None if it may not."""
        place = self.shards.place(source)
        return ALWAYS if place is None or place[0] == self.index else None

    def since(self, source: SourceId) -> float | None:
        """Nothing is ever handed over."""
        return None

    @property
    def owned_sources(self) -> int:
        return self.shards.sources_in((self.index,))


class LeasedOwnership:
    """The sources of the shards that are claimed under a lease, as long as the lease holds.

    `now` is a monotonic clock that goes on while the machine is suspended. Two threads change this
    and any thread may ask, so what is asked for is replaced as a whole.
    """

    def __init__(self, shards: Shards, *, now: Callable[[], float]) -> None:
        self.shards = shards
        self._now = now
        self._lock = threading.Lock()
        self._claims: Mapping[int, Epoch] = {}
        #: When the owner before stopped, of shards that were handed over.
        self._stops: Mapping[int, float] = {}
        self._valid_until = float("-inf")
        self._fenced = False
        self.fenced_total = 0

    def owned(self, source: SourceId) -> Epoch | None:
        """Return the epoch in which this daemon may begin a probe now, None if it may not."""
        place = self.shards.place(source)
        if place is None:
            return ALWAYS
        shard, exclusive = place
        epoch = self._claims.get(shard)
        if epoch is None or (exclusive and self._now() >= self._valid_until):
            return None
        return epoch

    def since(self, source: SourceId) -> float | None:
        """Return the Unix time at which the owner before stopped, None if it did not say so."""
        place = self.shards.place(source)
        return None if place is None else self._stops.get(place[0])

    @property
    def claims(self) -> Mapping[int, Epoch]:
        """The shards claimed and their epochs."""
        return self._claims

    @property
    def owned_sources(self) -> int:
        return self.shards.sources_in(self._claims)

    @property
    def remaining_seconds(self) -> float:
        """Seconds for which the lease is proven to hold; 0 when fenced."""
        return max(0.0, self._valid_until - self._now())

    def prolong(self, until: float) -> bool:
        """Note until when the lease holds; return whether that ended a time of being fenced."""
        with self._lock:
            self._valid_until = max(until, self._valid_until)
            was_fenced, self._fenced = self._fenced, self._now() >= self._valid_until
            return was_fenced and not self._fenced

    def fence_if_due(self) -> bool:
        """Return whether exclusive sources have just lost their proof."""
        with self._lock:
            due = not self._fenced and self._now() >= self._valid_until > float("-inf")
            if due:
                self._fenced = True
                self.fenced_total += 1
            return due

    def claim(
        self, epochs: Mapping[int, Epoch], stops: Mapping[int, float] = MappingProxyType({})
    ) -> None:
        """Own further shards; `stops` says when the owner before stopped, where that is known."""
        with self._lock:
            self._stops = {**_without(self._stops, epochs), **stops}
            self._claims = {**self._claims, **epochs}

    def give_up(self, shards: Iterable[int]) -> None:
        """Own these shards no longer: no probe of their sources starts from now on."""
        with self._lock:
            gone = frozenset(shards)
            self._claims = _without(self._claims, gone)
            self._stops = _without(self._stops, gone)

    def drop_all(self) -> int:
        """Own nothing any more; return how many shards that were."""
        with self._lock:
            count, self._claims = len(self._claims), {}
            self._stops = {}
            self._valid_until = float("-inf")
            self._fenced = False
            return count


def _without(shards: Mapping[int, T], gone: Container[int]) -> dict[int, T]:
    return {shard: value for shard, value in shards.items() if shard not in gone}
