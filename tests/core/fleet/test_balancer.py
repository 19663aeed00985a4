"""The balancer alone, in any order of events: never two owners, and one for all in the end."""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pollect.errors import PollectError
from pollect.fleet.balancer import MARGIN, Balancer
from pollect.fleet.keys import Profile
from pollect.fleet.ownership import Epoch, LeasedOwnership
from pollect.fleet.shards import SHARDS
from tests.core.fleet.model_engine import ModelClient, ModelEngine
from tests.core.fleet.sources import EXCLUSIVE, all_shards

TTL = 10.0
NAMES = ("a", "b", "c", "d")
SOME = st.sets(st.sampled_from(NAMES))
#: How fast the clocks of two machines run against a true one.
SPEEDS = st.floats(0.91, 1.1)
ALL = all_shards()


class Daemon:
    """A balancer and the clock of its machine, which runs up to 10 % faster or slower."""

    def __init__(self, engine: ModelEngine, name: str, speed: float) -> None:
        self.name, self.speed = name, speed
        self.client = ModelClient(engine)
        self._engine = engine
        self.changes: list[bool] = []
        self.ownership = LeasedOwnership(ALL, now=self.now)
        self.balancer = Balancer(
            self.client,
            group="test",
            name=name,
            ttl=TTL,
            profile=Profile("same", "2.0", SHARDS),
            ownership=self.ownership,
            now=self.now,
            changed=self.changes.append,
            wall_clock=lambda: engine.now + engine.losses,
        )

    def now(self) -> float:
        return 1000.0 + self._engine.now * self.speed

    def balance(self) -> None:
        with suppress(PollectError):
            term = self.balancer.term
            if term is None or term.over.is_set():
                term = self.balancer.sign_in()
            self.balancer.rebalance(term)

    def keep_alive(self) -> None:
        term = self.balancer.term
        if term is None or term.over.is_set():
            return
        asked = self.now()
        try:
            seconds = self.client.keep_alive(term.lease)
        except PollectError:
            return
        if seconds:
            self.balancer.prolong(term, asked + seconds * (1 - MARGIN))
        else:
            self.balancer.depose(term, "the lease ended")

    def leave(self) -> None:
        left = self.balancer.leave()
        if left is not None:
            with suppress(PollectError):
                self.balancer.farewell(left, self.client)

    def owned(self) -> dict[int, Epoch]:
        """The shards whose exclusive source it may probe now."""
        claims = self.ownership.claims
        asked = [self.ownership.owned(EXCLUSIVE[shard]) for shard in list(claims)[:1]]
        return dict(claims) if any(asked) else {}


class Fleet(RuleBasedStateMachine):
    """Daemons come, go, sleep and lose their connection; the engine goes away and forgets."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = ModelEngine()
        self.engine.watch = self.one_owner_at_most
        self.running: dict[str, Daemon] = {}
        self.latest: dict[int, Epoch] = {}
        #: When a shard was last seen with an owner.
        self.last_owned: dict[int, float] = {}

    @initialize(speeds=st.lists(SPEEDS, min_size=3, max_size=3))
    def start_with_three(self, speeds: list[float]) -> None:
        for name, speed in zip(NAMES, speeds, strict=False):
            self.running[name] = Daemon(self.engine, name, speed)
        self.quiet_time(4)

    @rule(name=st.sampled_from(NAMES), speed=SPEEDS)
    def start(self, name: str, speed: float) -> None:
        if name not in self.running:
            self.running[name] = Daemon(self.engine, name, speed)

    @rule(name=st.sampled_from(NAMES))
    def crash(self, name: str) -> None:
        self.running.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        if name in self.running:
            self.running[name].leave()
            del self.running[name]

    @rule(names=SOME)
    def notice_changes(self, names: set[str]) -> None:
        for daemon in self.those(names):
            daemon.balance()

    @rule(silent=SOME, deaf=SOME, steps=st.integers(1, 14))
    def time_passes(self, silent: set[str], deaf: set[str], steps: int) -> None:
        """Nothing comes from some members to the engine, and some do not hear its answers."""
        for _ in range(steps):
            self.engine.pass_time(TTL / 10)
            for daemon in self.those(set(NAMES) - silent):
                daemon.client.good_calls = 0 if daemon.name in deaf else None
                daemon.client.arrives = True
                daemon.keep_alive()
                daemon.balance()
                daemon.client.good_calls = None

    @rule(name=st.sampled_from(NAMES), good_calls=st.integers(0, 4), arrives=st.booleans())
    def balance_over_a_bad_connection(self, name: str, good_calls: int, arrives: bool) -> None:
        for daemon in self.those({name}):
            daemon.client.good_calls, daemon.client.arrives = good_calls, arrives
            daemon.balance()
            daemon.client.good_calls = None

    @rule()
    def engine_goes_or_comes_back(self) -> None:
        self.engine.away = not self.engine.away

    @rule(silent=SOME)
    def engine_loses_its_data(self, silent: set[str]) -> None:
        """Some notice at once, and some go on with what they know."""
        self.engine.lose_data()
        self.time_passes(silent, set(), 3)

    @invariant()
    def one_owner_at_most(self) -> None:
        owners: dict[int, str] = {}
        for daemon in self.running.values():
            for shard, epoch in daemon.owned().items():
                assert shard not in owners, f"{shard} has {owners[shard]} and {daemon.name}"
                owners[shard] = daemon.name
                before = self.latest.get(shard, epoch)
                assert epoch >= before, f"epoch of {shard} went back"
                stopped = daemon.ownership.since(EXCLUSIVE[shard])
                if epoch > before and stopped is not None:
                    assert stopped >= self.last_owned[shard], f"{shard} was probed after its stop"
                self.latest[shard] = epoch
                self.last_owned[shard] = self.engine.now + self.engine.losses

    @rule(leases=st.integers(1, 3))
    def quiet_time(self, leases: int) -> None:
        for _ in range(3 * leases):
            for daemon in self.running.values():
                daemon.keep_alive()
                daemon.balance()
            self.engine.pass_time(TTL / 3)
            self.one_owner_at_most()
        for daemon in self.running.values():
            daemon.keep_alive()

    def teardown(self) -> None:
        """Whatever happened: a fleet left alone comes to an even share within a few leases."""
        self.engine.away = False
        self.quiet_time(4)
        loads = {name: len(daemon.owned()) for name, daemon in self.running.items()}
        if loads:
            assert sum(loads.values()) == SHARDS
            assert max(loads.values()) - min(loads.values()) <= 1

    def those(self, names: set[str]) -> list[Daemon]:
        return [self.running[name] for name in sorted(names & self.running.keys())]


def test_what_is_handed_over_says_when_and_what_was_lost_does_not() -> None:
    engine = ModelEngine()
    a, b = Daemon(engine, "a", 1.0), Daemon(engine, "b", 1.0)
    for _ in range(4):
        a.keep_alive()
        a.balance()
        engine.pass_time(TTL / 3)
    assert len(a.owned()) == SHARDS

    for daemon in (b, a):
        daemon.balance()
    stopped = engine.now
    engine.pass_time(1.0)
    b.balance()
    assert len(b.owned()) == SHARDS // 2
    assert {b.ownership.since(EXCLUSIVE[shard]) for shard in b.owned()} == {stopped}
    assert {a.ownership.since(EXCLUSIVE[shard]) for shard in a.owned()} == {None}

    for _ in range(4):  # b is silent, its lease ends
        engine.pass_time(TTL / 3)
        a.keep_alive()
    a.balance()
    assert len(a.owned()) == SHARDS
    assert {a.ownership.since(EXCLUSIVE[shard]) for shard in a.owned()} == {None}


def test_sources_are_given_up_at_once_even_if_the_engine_goes_away_meanwhile() -> None:
    engine = ModelEngine()
    a = Daemon(engine, "a", 1.0)
    for _ in range(4):
        a.keep_alive()
        a.balance()
        engine.pass_time(TTL / 3)
    Daemon(engine, "b", 1.0).balance()
    a.changes.clear()
    a.client.good_calls = 1  # it hears of b, and cannot say that it made room
    a.balance()
    assert len(a.owned()) == SHARDS // 2
    assert a.changes == [False]


def test_a_member_that_leaves_says_when_also_to_the_one_that_comes_after_a_long_night() -> None:
    engine = ModelEngine()
    stopped: float | None = None
    for _ in range(2):
        a = Daemon(engine, "a", 1.0)
        for _ in range(4):
            a.keep_alive()
            a.balance()
            engine.pass_time(TTL / 3)
        assert {a.ownership.since(source) for source in EXCLUSIVE.values()} == {stopped}
        a.leave()
        stopped = engine.now
        engine.pass_time(3 * TTL)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
