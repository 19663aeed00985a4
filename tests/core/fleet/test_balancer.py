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
        self.ownership = LeasedOwnership(ALL, now=self.now)
        self.balancer = Balancer(
            self.client,
            group="test",
            name=name,
            ttl=TTL,
            profile=Profile("same", "2.0", SHARDS),
            ownership=self.ownership,
            now=self.now,
            changed=lambda fresh: None,
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
        term = self.balancer.leave()
        if term is not None:
            with suppress(PollectError):
                self.client.revoke(term.lease)

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
                assert epoch >= self.latest.get(shard, epoch), f"epoch of {shard} went back"
                self.latest[shard] = epoch

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


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
