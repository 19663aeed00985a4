"""Members of a fleet on a real etcd: one owner at a time, and who takes over when."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pollect.fleet.etcd import Etcd
from pollect.fleet.keys import Profile, generation_key, prefix_of
from pollect.fleet.member import FleetMember
from pollect.fleet.ownership import Epoch, LeasedOwnership
from pollect.fleet.shards import SHARDS
from pollect.model import SourceId
from pollect.testing.waiting import wait_until
from tests.core.fleet.etcd_server import EtcdServer, needs_etcd, running_etcd
from tests.core.fleet.sources import EXCLUSIVE, RELAXED, all_shards

pytestmark = [needs_etcd, pytest.mark.integration]

TTL = 2.0


@pytest.fixture
def etcd(tmp_path) -> Iterator[EtcdServer]:
    """An engine that has been in use for long, so that shards are claimed at once."""
    with running_etcd(tmp_path / "etcd") as server:
        client = Etcd([server.endpoint], timeout=20.0)
        client.create({generation_key(prefix_of("test")): "1"})
        client.close()
        yield server


@pytest.fixture
def join(etcd) -> Iterator[Callable[..., FleetMember]]:
    with ExitStack() as stack:

        def join(
            name: str,
            *,
            now: Callable[[], float] = time.monotonic,
            digest: str = "same",
            changed: Callable[[bool], None] = lambda fresh: None,
            ttl: float = TTL,
        ) -> FleetMember:
            member = FleetMember(
                Etcd([etcd.endpoint], timeout=1.0),
                group="test",
                name=name,
                ttl=ttl,
                profile=Profile(digest, "2.0", 2 * SHARDS),
                ownership=LeasedOwnership(all_shards(), now=now),
                now=now,
                changed=changed,
            )
            stack.callback(member.stop)
            member.start()
            return member

        yield join


def owned(member: FleetMember) -> set[int]:
    """The shards whose exclusive source the member may probe now."""
    return {s for s, source in EXCLUSIVE.items() if member.ownership.owned(source) is not None}


def relaxed(member: FleetMember) -> set[int]:
    return {s for s, source in RELAXED.items() if member.ownership.owned(source) is not None}


def crash(member: FleetMember) -> None:
    """Let the threads of a member end without a word to the engine."""
    member._stopping.set()
    member._wake_renewal.set()
    member._end_watch()


class Referee:
    """Looks all the time whether an exclusive source has two owners, or an epoch goes back."""

    def __init__(self, members: list[FleetMember]) -> None:
        self.faults: list[str] = []
        self.members = members
        self._epochs: dict[int, Epoch] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Referee":
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join()
        assert not self.faults, self.faults[:5]

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            for shard, source in EXCLUSIVE.items():
                # The first answer is asked for again: a move may come between two members.
                owners = [m for m in self.members if m.ownership.owned(source) is not None]
                owners = [m for m in owners if m.ownership.owned(source) is not None]
                if len(owners) > 1:
                    self.faults.append(f"shard {shard}: {[m.name for m in owners]}")
                for owner in owners:
                    epoch = owner.ownership.owned(source)
                    if epoch is None:
                        continue
                    if epoch < self._epochs.get(shard, epoch):
                        self.faults.append(f"shard {shard}: epoch went back to {epoch}")
                    self._epochs[shard] = epoch


def test_a_member_alone_owns_everything_and_says_so(join) -> None:
    changes: list[bool] = []
    member = join("a", changed=changes.append)
    wait_until(lambda: len(owned(member)) == SHARDS)
    assert True in changes, "nothing probed these before"
    assert member.ownership.owned_sources == 2 * SHARDS
    assert 0 < member.ownership.remaining_seconds <= TTL
    assert member.ownership.owned(SourceId("home", "LoadAvg")) is not None


def test_members_share_evenly_and_a_planned_move_never_has_two_owners(join) -> None:
    a = join("a")
    wait_until(lambda: len(owned(a)) == SHARDS)
    members = [a]
    with Referee(members):
        for name in ("b", "c"):
            members.append(join(name))
            wait_until(
                lambda: (
                    sorted(len(owned(m)) for m in members)[0] >= SHARDS // len(members)
                    and sum(len(owned(m)) for m in members) == SHARDS
                )
            )
    assert a.handovers["released"] >= SHARDS // 2


def test_what_a_member_that_leaves_had_is_taken_over_at_once(
    join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.fleet.member.LEAVE_SECONDS", 60.0)
    a, b = join("a", ttl=100.0), join("b", ttl=100.0)
    wait_until(lambda: len(owned(a)) == len(owned(b)) == SHARDS // 2)
    with Referee([a, b]):
        b.stop()
        wait_until(lambda: len(owned(a)) == SHARDS, "it waits for the lease to end")


def test_a_quiet_engine_is_asked_whether_anything_changed_and_not_for_everything(
    join, monkeypatch
) -> None:
    monkeypatch.setattr("pollect.fleet.member.QUIET_SECONDS", 0.1)
    calls: list[str] = []
    for name in ("range", "revision"):
        method = getattr(Etcd, name)

        def counted(self: Etcd, *arguments: object, name=name, method=method) -> object:
            calls.append(name)
            return method(self, *arguments)

        monkeypatch.setattr(Etcd, name, counted)
    a = join("a")
    wait_until(lambda: len(owned(a)) == SHARDS and calls[-2:] == ["revision"] * 2)
    b = join("b")
    wait_until(lambda: len(owned(b)) == SHARDS // 2)


def test_a_member_that_takes_over_knows_when_the_one_before_stopped(join) -> None:
    a = join("a")
    wait_until(lambda: len(owned(a)) == SHARDS)
    assert all(a.ownership.since(source) is None for source in EXCLUSIVE.values())
    times = [time.time()]
    b = join("b")
    wait_until(lambda: len(owned(b)) == SHARDS // 2)
    times.append(time.time())
    moved = owned(b)
    assert all(times[0] < (b.ownership.since(EXCLUSIVE[s]) or 0) < times[1] for s in moved)
    b.stop()
    wait_until(lambda: len(owned(a)) == SHARDS)
    assert all(times[1] < (a.ownership.since(EXCLUSIVE[s]) or 0) < time.time() for s in moved)


def test_what_a_crashed_member_had_is_taken_over_when_its_lease_ends(join) -> None:
    a, b = join("a"), join("b")
    wait_until(lambda: len(owned(a)) == len(owned(b)) == SHARDS // 2)
    with Referee([a, b]):
        crash(b)
        wait_until(lambda: len(owned(a)) == SHARDS, limit_seconds=60)
        assert owned(b) == set(), "the lease ended, so it must not probe"


def test_a_member_whose_clock_runs_ten_percent_slow_fences_itself_before_others_take_over(
    join,
) -> None:
    a, slow = join("a"), join("slow", now=lambda: time.monotonic() * 0.9)
    wait_until(lambda: len(owned(a)) == len(owned(slow)) == SHARDS // 2)
    with Referee([a, slow]):
        crash(slow)
        wait_until(lambda: len(owned(a)) == SHARDS, limit_seconds=60)


def test_while_the_engine_is_away_exclusive_sources_stop_and_the_others_go_on(etcd, join) -> None:
    a, b = join("a"), join("b")
    wait_until(lambda: len(owned(a)) == len(owned(b)) == SHARDS // 2)
    mine = relaxed(a)
    with Referee([a, b]):
        etcd.kill()
        wait_until(lambda: not owned(a) and not owned(b), limit_seconds=60)
        wait_until(lambda: a.ownership.fenced_total == 1)
        assert relaxed(a) == mine
        etcd.start()
        wait_until(lambda: len(owned(a)) == len(owned(b)) == SHARDS // 2, limit_seconds=60)
    assert owned(a) == mine, "nothing moved"


def test_an_engine_that_lost_its_data_starts_new_epochs_that_are_later(etcd, join) -> None:
    a = join("a")
    wait_until(lambda: len(owned(a)) == SHARDS)
    with Referee([a]):
        etcd.kill()
        etcd.erase()
        etcd.start()
        before = a.handovers["claimed"]
        wait_until(
            lambda: len(owned(a)) == SHARDS and a.handovers["claimed"] > before, limit_seconds=60
        )


def test_a_newcomer_at_an_engine_that_lost_its_data_waits_for_members_from_before(
    etcd, join
) -> None:
    a = join("a")
    wait_until(lambda: len(owned(a)) == SHARDS)
    with Referee([a]) as referee:
        crash(a)  # it goes on with what it has, and hears of nothing
        etcd.kill()
        etcd.erase()
        etcd.start()
        b = join("b")
        referee.members.append(b)
        wait_until(lambda: len(owned(b)) == SHARDS, limit_seconds=60)
        assert owned(a) == set()


def test_a_second_member_of_the_same_name_owns_nothing_until_the_first_is_gone(
    join, caplog
) -> None:
    first = join("a")
    wait_until(lambda: len(owned(first)) == SHARDS)
    second = join("a")
    wait_until(lambda: "another daemon is in the fleet as 'a'" in caplog.text)
    assert owned(second) == set()
    first.stop()
    wait_until(lambda: len(owned(second)) == SHARDS, limit_seconds=60)


def test_members_with_different_configs_are_pointed_out_once(join, caplog) -> None:
    a, b = join("a"), join("b", digest="other")
    wait_until(lambda: a.differing == {"b"} and b.differing == {"a"})
    assert caplog.text.count("the config of b differs") == 1
    b.update_profile(Profile("same", "2.0", 2 * SHARDS))
    wait_until(lambda: not a.differing and not b.differing)


def test_without_an_engine_at_the_start_nothing_is_owned_until_it_comes(etcd, join) -> None:
    etcd.kill()
    member = join("a")
    assert owned(member) == relaxed(member) == set()
    etcd.start()
    wait_until(lambda: len(owned(member)) == SHARDS, limit_seconds=60)
