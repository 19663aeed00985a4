"""One daemon's part in a fleet: it signs in, keeps its lease alive, and balances shards.

Two threads: one keeps the lease alive, one watches the keys and claims or hands over shards.
Nothing else moves a shard, so at most one member at a time is allowed to start a probe of an
exclusive source, given clocks that run at the same speed to 10 %.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pollect.errors import PollectError
from pollect.fleet.etcd import Entry, Etcd, EtcdRefused, EtcdUnavailable
from pollect.fleet.keys import Profile, decode_profile, members_in, prefix_of, shards_in
from pollect.fleet.ownership import Epoch, LeasedOwnership
from pollect.fleet.shards import assign
from pollect.support.backoff import Backoff

log = logging.getLogger("pollect.fleet")

#: Part of the lease that is not used, for clocks that run at different speeds.
MARGIN = 0.1
#: Keepalives in the life of a lease; two may fail.
KEEPALIVES = 3
#: Operations in one transaction; etcd takes 128.
BATCH = 100
#: Seconds that leaving the fleet may take at the end.
LEAVE_SECONDS = 2.0
#: Seconds after which what changes in the engine is looked at together.
COALESCE_SECONDS = 0.02


class Term(NamedTuple):
    """The time from signing in to the end of a lease."""

    lease: int
    generation: int
    #: Seconds the engine keeps the lease without a keepalive.
    ttl: float
    over: threading.Event


class FleetMember:
    """Takes part in a fleet from `start()` to `stop()`.

    `changed` is called after the ownership of sources changed, in a thread of this object: with
    True when no other member probed what came, so that it is worth probing at once.
    """

    def __init__(
        self,
        etcd: Etcd,
        *,
        group: str,
        name: str,
        ttl: float,
        profile: Profile,
        ownership: LeasedOwnership,
        now: Callable[[], float],
        changed: Callable[[bool], None],
    ) -> None:
        self.name = name
        self.ownership = ownership
        self._etcd = etcd
        self._prefix = prefix_of(group)
        self._ttl = ttl
        self._profile = profile
        self._now = now
        self._changed = changed
        self._stopping = threading.Event()
        self._wake_renewal = threading.Event()
        self._term: Term | None = None
        self._watch: Etcd | None = None
        self._away = False
        self._differing: frozenset[str] = frozenset()
        #: Name -> what each member says of itself, as last seen.
        self.members: Mapping[str, Mapping[str, object]] = {}
        #: Shards that came or went, by reason.
        self.handovers = {"claimed": 0, "released": 0, "lost": 0}
        self._threads = [
            threading.Thread(
                target=self._guarded(work), name=f"pollect-fleet-{work.__name__[1:]}", daemon=True
            )
            for work in (self._balance, self._renew)
        ]

    def start(self) -> None:
        """Begin; returns at once, whether or not the engine is there."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Own nothing any more and let others have the shards; takes two seconds at most."""
        self._stopping.set()
        self.ownership.drop_all()
        self._wake_renewal.set()
        self._end_watch()
        for thread in self._threads:
            thread.join(LEAVE_SECONDS / 2)
        term = self._term
        if term is None or term.over.is_set():
            return
        leaving = self._etcd.another()
        leaving.timeout = LEAVE_SECONDS / 2
        try:
            leaving.revoke(term.lease)
        except PollectError as error:
            log.warning("cannot leave the fleet, others take over when the lease ends: %s", error)
        finally:
            leaving.close()

    def update_profile(self, profile: Profile) -> None:
        """Tell the other members about another config."""
        self._profile = profile
        self._end_watch()

    @property
    def differing(self) -> frozenset[str]:
        """Members whose config differs from this one's."""
        return self._differing

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """A mistake of ours must not end the part of a daemon in its fleet without a word."""

        def run() -> None:
            while not self._stopping.is_set():
                try:
                    work()
                except Exception:
                    log.exception("the fleet stumbled; going on")
                    self._stopping.wait(1.0)

        run.__name__ = work.__name__
        return run

    # The thread that keeps the lease alive.

    def _renew(self) -> None:
        etcd = self._etcd.another()
        etcd.timeout = self._request_seconds
        pause = self._ttl / KEEPALIVES
        try:
            while not self._stopping.is_set():
                self._wake_renewal.wait(self._until_fence(pause))
                self._wake_renewal.clear()
                if self.ownership.fence_if_due():
                    log.warning(
                        "the lease could not be renewed in time: exclusive sources are not probed "
                        "until it is"
                    )
                    self._changed(False)
                term = self._term
                if term is None or term.over.is_set() or self._stopping.is_set():
                    continue
                pause = term.ttl / KEEPALIVES if self._keep_alive(etcd, term) else 0.5
        finally:
            etcd.close()

    def _until_fence(self, pause: float) -> float:
        """Return how long to wait: until the next keepalive, or the moment of fencing if sooner."""
        remaining = self.ownership.remaining_seconds
        return min(pause, remaining + 0.001) if remaining > 0 else pause

    def _keep_alive(self, etcd: Etcd, term: Term) -> bool:
        asked = self._now()
        try:
            seconds = etcd.keep_alive(term.lease)
        except (EtcdUnavailable, EtcdRefused) as error:
            self._note_away(error)
            return False
        if seconds <= 0:
            self._depose(term, "the lease ended")
            return True
        self._note_back()
        if self.ownership.prolong(asked + seconds * (1 - MARGIN)):
            log.info("the lease is renewed again: exclusive sources go on")
            self._changed(True)
        return True

    # The thread that watches and balances.

    def _balance(self) -> None:
        pauses = Backoff(first=0.2, longest=2.0)
        try:
            while not self._stopping.is_set():
                try:
                    term = self._current_term()
                    revision = self._resync(term)
                    pauses.reset()
                    self._watch_until_changed(term, revision)
                except (EtcdUnavailable, EtcdRefused) as error:
                    self._note_away(error)
                    self._stopping.wait(pauses.pause())
        finally:
            self._etcd.close()

    def _current_term(self) -> Term:
        if self._term is not None and not self._term.over.is_set():
            return self._term
        asked = self._now()
        lease, ttl = self._etcd.grant(max(1, math.ceil(self._ttl)))
        if self._etcd.create({self._member_key: self._profile.encode()}, lease) is None:
            self._etcd.revoke(lease)
            raise EtcdRefused(
                f"another daemon is in the fleet as {self.name!r}; give each its own name "
                "(fleet.name), or wait until the lease of the one before has ended"
            )
        term = Term(lease, self._generation(), float(ttl), threading.Event())
        self.ownership.drop_all()
        self.ownership.prolong(asked + ttl * (1 - MARGIN))
        self._term = term
        self._wake_renewal.set()
        self._note_back()
        log.info("in the fleet as %s", self.name)
        return term

    def _generation(self) -> int:
        """Return when the engine's data began, in milliseconds of Unix time; noted by the first."""
        key = f"{self._prefix}generation"
        self._etcd.create({key: str(time.time_ns() // 1_000_000)})
        return int(self._etcd.range(key).entries[0].value)

    def _resync(self, term: Term) -> int:
        """Claim what should be this member's and hand over what should not; return the revision."""
        snapshot = self._etcd.range(self._prefix)
        members = members_in(self._prefix, snapshot)
        own = members.get(self.name)
        if own is None or own.lease != term.lease:
            self._depose(term, "the engine does not know this member any more")
            raise EtcdUnavailable("signing in again")
        if own.value != self._profile.encode():
            self._etcd.replace(self._member_key, self._profile.encode(), term.lease)
        self._compare_configs({name: entry.value for name, entry in members.items()})
        held = shards_in(self._prefix, snapshot)
        wanted = {shard for shard, name in assign(members).items() if name == self.name}
        mine = {shard: entry for shard, entry in held.items() if entry.lease == term.lease}
        self._hand_over({shard: mine[shard] for shard in mine.keys() - wanted})
        kept = {shard: entry for shard, entry in mine.items() if shard in wanted}
        self._adopt(term, kept)
        self._claim(term, sorted(wanted - held.keys()), fresh=not held)
        return snapshot.revision

    def _watch_until_changed(self, term: Term, revision: int) -> None:
        """Return when something changed after `revision`, or nothing was heard for a while."""
        watch = self._watch = self._etcd.another()
        try:
            if self._stopping.is_set() or term.over.is_set():
                return
            for _ in watch.watch(self._prefix, revision + 1, quiet=max(term.ttl, 5.0)):
                self._stopping.wait(COALESCE_SECONDS)
                return
        except EtcdUnavailable as error:
            if not self._stopping.is_set():
                log.debug("%s", error)
        finally:
            self._watch = None
            watch.close()

    def _hand_over(self, shards: Mapping[int, Entry]) -> None:
        """Stop probing first, then let others claim."""
        if not shards:
            return
        self.ownership.give_up(shards)
        self._changed(False)
        for part in _parts(sorted(shards)):
            keys = {self._shard_key(shard): shards[shard].revision for shard in part}
            if not self._etcd.delete(keys):
                for key, at in keys.items():  # one of them changed: the others go all the same
                    self._etcd.delete({key: at})
        self.handovers["released"] += len(shards)
        log.info("handed over %d shards", len(shards))

    def _adopt(self, term: Term, entries: Mapping[int, Entry]) -> None:
        """Own what the engine says is ours: the answer to a claim may have been lost."""
        known = self.ownership.claims
        found = {
            shard: Epoch(term.generation, entry.revision)
            for shard, entry in entries.items()
            if shard not in known
        }
        self._take(term, found, fresh=False)

    def _claim(self, term: Term, shards: Sequence[int], *, fresh: bool) -> None:
        for part in _parts(shards):
            revision = self._etcd.create(
                dict.fromkeys(map(self._shard_key, part), self.name), term.lease
            )
            claimed = dict.fromkeys(part, revision)
            if revision is None:  # another member was quicker with one of them
                claimed = {
                    shard: self._etcd.create({self._shard_key(shard): self.name}, term.lease)
                    for shard in part
                }
            won = {
                shard: Epoch(term.generation, at) for shard, at in claimed.items() if at is not None
            }
            self._take(term, won, fresh=fresh)

    def _take(self, term: Term, epochs: Mapping[int, Epoch], *, fresh: bool) -> None:
        if not epochs or self._stopping.is_set() or term.over.is_set():
            return
        self.ownership.claim(epochs)
        self.handovers["claimed"] += len(epochs)
        log.info("took over %d shards", len(epochs))
        self._changed(fresh)

    def _depose(self, term: Term, reason: str) -> None:
        if term.over.is_set():
            return
        term.over.set()
        lost = self.ownership.drop_all()
        self.handovers["lost"] += lost
        log.warning("out of the fleet, %d shards lost: %s; signing in again", lost, reason)
        self._changed(False)
        self._end_watch()

    def _compare_configs(self, profiles: Mapping[str, str]) -> None:
        """Warn once about members that run another config."""
        self.members = {name: decode_profile(text) for name, text in profiles.items()}
        differing = frozenset(
            name
            for name, profile in self.members.items()
            if profile.get("digest") != self._profile.digest
        )
        if differing - self._differing:
            log.warning(
                "the config of %s differs from the one here: sources that only some members have "
                "are probed by no one else",
                ", ".join(sorted(differing)),
            )
        elif self._differing and not differing:
            log.info("all members of the fleet run the same config again")
        self._differing = differing

    def _note_away(self, error: PollectError) -> None:
        level = logging.DEBUG if self._away else logging.WARNING
        self._away = True
        log.log(level, "not in step with the fleet, nothing moves: %s", error)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            log.info("the engine of the fleet answers again")

    def _end_watch(self) -> None:
        watch = self._watch
        if watch is not None:
            watch.abort()

    @property
    def engine_up(self) -> bool:
        return not self._away

    @property
    def _member_key(self) -> str:
        return f"{self._prefix}members/{self.name}"

    def _shard_key(self, shard: int) -> str:
        return f"{self._prefix}shards/{shard:03d}"

    @property
    def _request_seconds(self) -> float:
        """A keepalive that hangs at one endpoint leaves time to ask the next ones."""
        return max(0.5, self._ttl / 6)


def _parts(shards: Sequence[int]) -> list[Sequence[int]]:
    return [shards[start : start + BATCH] for start in range(0, len(shards), BATCH)]
