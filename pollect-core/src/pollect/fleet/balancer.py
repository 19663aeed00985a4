"""One member's dealings with the engine: it signs in, and owns what all members agree it should.

No threads and no waiting here: `FleetMember` decides when. Whatever order members and faults come
in, at most one member at a time may start a probe of an exclusive source.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pollect.fleet.etcd import Entry, EtcdRefused, EtcdUnavailable, Snapshot
from pollect.fleet.keys import (
    Profile,
    decode_profile,
    decode_stop,
    encode_stop,
    generation_key,
    member_key,
    members_in,
    prefix_of,
    released_in,
    settling_in,
    settling_key,
    shard_key,
    shards_in,
)
from pollect.fleet.ownership import Epoch, LeasedOwnership
from pollect.fleet.shards import assign

log = logging.getLogger("pollect.fleet")

#: Part of the lease that is not used, for clocks that run at different speeds.
MARGIN = 0.1
#: Operations in one transaction; etcd takes 128.
BATCH = 100


class LeaseStore(Protocol):
    """What is asked of etcd; each call raises `EtcdUnavailable` or `EtcdRefused`."""

    def range(self, prefix: str) -> Snapshot: ...
    def grant(self, seconds: int) -> tuple[int, int]: ...
    def revoke(self, lease: int) -> None: ...
    def create(self, values: Mapping[str, str], lease: int = 0) -> int | None: ...
    def replace(self, key: str, value: str, lease: int) -> None: ...
    def exchange(
        self, values: Mapping[str, str], revisions: Mapping[str, int], lease: int = 0
    ) -> int | None: ...


class Term(NamedTuple):
    """The time from signing in to the end of a lease."""

    lease: int
    generation: int
    #: Seconds the engine keeps the lease without a keepalive.
    ttl: float
    over: threading.Event


class Leaving(NamedTuple):
    """What a member had when it left."""

    lease: int
    #: Shard -> the revision at which it was claimed.
    claims: Mapping[int, int]
    #: Unix time from which it began no probe any more.
    stopped: float


class Balancer:
    """Claims and hands over the shards of one member.

    One thread calls `sign_in` and `rebalance`, another may call `prolong` and `depose`. `changed`
    is called after the ownership of sources changed: with True when no other member probed what
    came, so that it is worth probing at once.
    """

    def __init__(
        self,
        engine: LeaseStore,
        *,
        group: str,
        name: str,
        ttl: float,
        profile: Profile,
        ownership: LeasedOwnership,
        now: Callable[[], float],
        changed: Callable[[bool], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.profile = profile
        self.ownership = ownership
        self.prefix = prefix_of(group)
        #: The present term, or the last one.
        self.term: Term | None = None
        #: Name -> what each member says of itself, as last seen.
        self.members: Mapping[str, Mapping[str, object]] = {}
        #: Shard -> the name of its owner, as last seen.
        self.owners: Mapping[int, str] = {}
        #: Members whose config differs from this one's.
        self.differing: frozenset[str] = frozenset()
        #: Shards that came or went, by reason.
        self.handovers = {"claimed": 0, "released": 0, "lost": 0}
        self._engine = engine
        self._ttl = ttl
        self._now = now
        self._wall_clock = wall_clock
        self._changed = changed
        self._settling = False
        self._left = False
        # What a lease allows ends with its term, whichever thread is quicker.
        self._lock = threading.Lock()

    def sign_in(self) -> Term:
        """Begin a term and return it.

        Raises `EtcdRefused` while another member has the same name.
        """
        asked = self._now()
        lease, ttl = self._engine.grant(max(1, math.ceil(self._ttl)))
        own = {member_key(self.prefix, self.name): self.profile.encode()}
        if self._engine.create(own, lease) is None:
            self._engine.revoke(lease)
            raise EtcdRefused(
                f"another daemon is in the fleet as {self.name!r}; give each its own name "
                "(fleet.name), or wait until the lease of the one before has ended"
            )
        term = Term(lease, self._generation(), float(ttl), threading.Event())
        with self._lock:
            left = self._left
            if not left:
                self.ownership.drop_all()
                self.ownership.prolong(asked + ttl * (1 - MARGIN))
                self.term = term
        if left:
            self._engine.revoke(lease)
            raise EtcdUnavailable("the daemon left the fleet")
        log.info("in the fleet as %s", self.name)
        return term

    def prolong(self, term: Term, until: float) -> bool:
        """Note until when a term's lease holds; return whether the member was fenced before."""
        with self._lock:
            return not term.over.is_set() and self.ownership.prolong(until)

    def leave(self) -> Leaving | None:
        """Own nothing from now on; return what the engine is to know, None for nothing.

        No probe starts after this, whatever `rebalance` is doing in another thread.
        """
        with self._lock:
            self._left = True
            claims = self.ownership.claims
            self.ownership.drop_all()
            term = self.term
            if term is None or term.over.is_set():
                return None
            term.over.set()
        revisions = {shard: epoch.revision for shard, epoch in claims.items()}
        return Leaving(term.lease, revisions, self._wall_clock())

    def farewell(self, leaving: Leaving, engine: LeaseStore) -> None:
        """Let others have what this member left, at once; after `leave`."""
        self._release(engine, leaving.claims, leaving.stopped)
        engine.revoke(leaving.lease)

    def depose(self, term: Term, reason: str) -> None:
        """End a term whose lease is gone: nothing is owned until the next."""
        with self._lock:
            if term.over.is_set():
                return
            term.over.set()
            lost = self.ownership.drop_all()
        self.handovers["lost"] += lost
        log.warning("out of the fleet, %d shards lost: %s; signing in again", lost, reason)
        self._changed(False)

    def rebalance(self, term: Term) -> int:
        """Hand over what should not be this member's and claim what should.

        Returns the engine's revision from which a change is news. Raises `EtcdUnavailable` after
        the term is over.
        """
        snapshot = self._engine.range(self.prefix)
        members = members_in(self.prefix, snapshot)
        own = members.get(self.name)
        if own is None or own.lease != term.lease:
            self.depose(term, "the engine does not know this member any more")
            raise EtcdUnavailable("signing in again")
        if own.value != self.profile.encode():
            self._engine.replace(
                member_key(self.prefix, self.name), self.profile.encode(), term.lease
            )
        self._compare_configs({name: entry.value for name, entry in members.items()})
        held = shards_in(self.prefix, snapshot)
        self.owners = {shard: entry.value for shard, entry in held.items()}
        wanted = {shard for shard, name in assign(members).items() if name == self.name}
        mine = {shard: entry for shard, entry in held.items() if entry.lease == term.lease}
        self._hand_over({shard: mine[shard] for shard in mine.keys() - wanted})
        self._adopt(term, {shard: mine[shard] for shard in mine.keys() & wanted})
        if not self._note_settling(settling_in(self.prefix, snapshot)):
            released = released_in(self.prefix, snapshot)
            self._claim(term, sorted(wanted - held.keys()), released, fresh=not held)
        return snapshot.revision

    def _generation(self) -> int:
        """Return when the engine's data began, in milliseconds of Unix time; noted by the first.

        Who sees no such key is in front of an engine that is new or lost its data: members from
        before may go on until their leases would have ended. Until then no shard is claimed, which
        a key with a lease of its own says to everybody.
        """
        key = generation_key(self.prefix)
        if not self._engine.range(key).entries:
            lease, _ = self._engine.grant(max(1, math.ceil(self._ttl)))
            if self._engine.create({settling_key(self.prefix): self.name}, lease) is None:
                self._engine.revoke(lease)
            self._engine.create({key: str(int(self._wall_clock() * 1000))})
        return int(self._engine.range(key).entries[0].value)

    def _note_settling(self, settling: bool) -> bool:
        if settling and not self._settling:
            log.info(
                "the engine's data is new: shards are claimed after %g s, when nothing from before "
                "can still be probed",
                self._ttl,
            )
        self._settling = settling
        return settling

    def _hand_over(self, shards: Mapping[int, Entry]) -> None:
        """Stop probing first, then let others claim."""
        if not shards:
            return
        self.ownership.give_up(shards)
        # Read afterwards: every probe that this member has begun was due before.
        stopped = self._wall_clock()
        self._changed(False)
        revisions = {shard: entry.revision for shard, entry in shards.items()}
        self._release(self._engine, revisions, stopped)
        self.handovers["released"] += len(shards)
        log.info("handed over %d shards", len(shards))

    def _release(self, engine: LeaseStore, revisions: Mapping[int, int], stopped: float) -> None:
        """Let others claim what this member had at these revisions and does not probe any more."""
        for part in _parts(sorted(revisions)):
            at = {shard_key(self.prefix, shard): revisions[shard] for shard in part}
            values = dict.fromkeys(at, encode_stop(stopped))
            if engine.exchange(values, at) is None:
                for key in at:  # one of them changed: the others go all the same
                    engine.exchange({key: values[key]}, at)

    def _adopt(self, term: Term, entries: Mapping[int, Entry]) -> None:
        """Own what the engine says is ours: the answer to a claim may have been lost."""
        known = self.ownership.claims
        found = {
            shard: Epoch(term.generation, entry.revision)
            for shard, entry in entries.items()
            if shard not in known
        }
        self._take(term, found, {}, fresh=False)

    def _claim(
        self, term: Term, shards: Sequence[int], released: Mapping[int, Entry], *, fresh: bool
    ) -> None:
        stops = {shard: decode_stop(entry.value) for shard, entry in released.items()}
        for part in _parts(shards):
            keys = {shard: shard_key(self.prefix, shard) for shard in part}
            # What was released and is claimed at the same revision had no owner in between.
            at = {keys[shard]: released[shard].revision if shard in released else 0
                  for shard in part}  # fmt: skip
            values = dict.fromkeys(at, self.name)
            revision = self._engine.exchange(values, at, term.lease)
            claimed = dict.fromkeys(part, revision)
            if revision is None:  # another member was quicker with one of them
                claimed = {
                    shard: self._engine.exchange({key: self.name}, at, term.lease)
                    for shard, key in keys.items()
                }
            won = {
                shard: Epoch(term.generation, at) for shard, at in claimed.items() if at is not None
            }
            known = {shard: stop for shard in won if (stop := stops.get(shard)) is not None}
            self._take(term, won, known, fresh=fresh and not released)

    def _take(
        self,
        term: Term,
        epochs: Mapping[int, Epoch],
        stops: Mapping[int, float],
        *,
        fresh: bool,
    ) -> None:
        with self._lock:
            if not epochs or term.over.is_set():
                return
            self.ownership.claim(epochs, stops)
        self.handovers["claimed"] += len(epochs)
        log.info("took over %d shards", len(epochs))
        self._changed(fresh)

    def _compare_configs(self, profiles: Mapping[str, str]) -> None:
        """Warn once about members that run another config."""
        self.members = {name: decode_profile(text) for name, text in profiles.items()}
        differing = frozenset(
            name
            for name, profile in self.members.items()
            if profile.get("digest") != self.profile.digest
        )
        if differing - self.differing:
            log.warning(
                "the config of %s differs from the one here: sources that only some members have "
                "are probed by no one else",
                ", ".join(sorted(differing)),
            )
        elif self.differing and not differing:
            log.info("all members of the fleet run the same config again")
        self.differing = differing


def _parts(shards: Sequence[int]) -> list[Sequence[int]]:
    return [shards[start : start + BATCH] for start in range(0, len(shards), BATCH)]
