"""etcd as its specification describes it, in memory and on a clock that a test turns.

Judges the balancer alone, in any order of events; what etcd itself does is judged by the tests
that run it. Leases end to the moment, the earliest that etcd promises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pollect.fleet.etcd import Entry, EtcdUnavailable, Snapshot

T = TypeVar("T")


@dataclass
class ModelEngine:
    """One engine, asked by all members through a `ModelClient` each."""

    #: Seconds of real time.
    now: float = 0.0
    revision: int = 1
    keys: dict[str, Entry] = field(default_factory=dict)
    #: Lease -> seconds it lives, and when it ends.
    leases: dict[int, tuple[float, float]] = field(default_factory=dict)
    away: bool = False
    #: How often the data was lost.
    losses: int = 0
    #: Called before and after whatever changes here.
    watch: Callable[[], None] = lambda: None
    _granted: int = 0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for lease in [lease for lease, (_, end) in self.leases.items() if end <= self.now]:
            self.end_lease(lease)

    def lose_data(self) -> None:
        self.losses += 1
        self.keys.clear()
        self.leases.clear()
        self.revision = 1

    def new_lease(self, seconds: float) -> int:
        self._granted += 1
        self.leases[self._granted] = (seconds, self.now + seconds)
        return self._granted

    def end_lease(self, lease: int) -> None:
        self.leases.pop(lease, None)
        self.revision += 1
        self.keys = {key: entry for key, entry in self.keys.items() if entry.lease != lease}

    def put(self, key: str, value: str, lease: int) -> None:
        if lease and lease not in self.leases:
            raise EtcdUnavailable("requested lease not found")
        self.keys[key] = Entry(key, value, lease, self.revision)


class ModelClient:
    """What one member asks; a question or an answer can be lost on its way."""

    def __init__(self, engine: ModelEngine) -> None:
        self._engine = engine
        #: Calls that go well until one fails; None for none.
        self.good_calls: int | None = None
        #: Whether the call that fails reaches the engine.
        self.arrives = False

    def range(self, prefix: str) -> Snapshot:
        def read() -> Snapshot:
            found = sorted(key for key in self._engine.keys if key.startswith(prefix))
            entries = tuple(self._engine.keys[key] for key in found)
            return Snapshot(self._engine.revision, entries)

        return self._ask(read)

    def grant(self, seconds: int) -> tuple[int, int]:
        return self._ask(lambda: (self._engine.new_lease(seconds), seconds))

    def keep_alive(self, lease: int) -> float:
        def prolong() -> float:
            if lease not in self._engine.leases:
                return 0
            seconds, _ = self._engine.leases[lease]
            self._engine.leases[lease] = (seconds, self._engine.now + seconds)
            return seconds

        return self._ask(prolong)

    def revoke(self, lease: int) -> None:
        self._ask(lambda: self._engine.end_lease(lease))

    def create(self, values: Mapping[str, str], lease: int = 0) -> int | None:
        return self.exchange(values, dict.fromkeys(values, 0), lease)

    def exchange(
        self, values: Mapping[str, str], revisions: Mapping[str, int], lease: int = 0
    ) -> int | None:
        def write() -> int | None:
            found = self._engine.keys
            if any((found[k].revision if k in found else 0) != revisions[k] for k in values):
                return None
            self._engine.revision += 1
            for key, value in values.items():
                self._engine.put(key, value, lease)
            return self._engine.revision

        return self._ask(write)

    def replace(self, key: str, value: str, lease: int) -> None:
        def write() -> None:
            self._engine.revision += 1
            self._engine.put(key, value, lease)

        self._ask(write)

    def _ask(self, act: Callable[[], T]) -> T:
        fails = self.good_calls == 0
        if self.good_calls is not None:
            self.good_calls = None if fails else self.good_calls - 1
        if self._engine.away or (fails and not self.arrives):
            raise EtcdUnavailable("the question was lost")
        self._engine.watch()
        answer = act()
        self._engine.watch()
        if fails:
            raise EtcdUnavailable("the answer was lost")
        return answer
