"""One daemon's part in a fleet: it keeps its lease alive, and rebalances when something changed.

Two threads: one keeps the lease alive, one watches the keys and lets the balancer claim or hand
over shards. Nothing else moves a shard, so at most one member at a time is allowed to start a
probe of an exclusive source, given clocks that run at the same speed to 10 %.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from pollect.errors import PollectError
from pollect.fleet.balancer import MARGIN, Balancer, Term
from pollect.fleet.etcd import Etcd, EtcdRefused, EtcdUnavailable
from pollect.fleet.keys import Profile
from pollect.fleet.ownership import LeasedOwnership
from pollect.support.backoff import Backoff

log = logging.getLogger("pollect.fleet")

#: Keepalives in the life of a lease; two may fail.
KEEPALIVES = 3
#: Seconds that leaving the fleet may take at the end.
LEAVE_SECONDS = 2.0
#: Seconds of a watch without news, or a lease if that is longer, before the engine is asked.
QUIET_SECONDS = 5.0
#: Seconds after which what changes in the engine is looked at together.
COALESCE_SECONDS = 0.02


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
        self._balancer = Balancer(
            etcd,
            group=group,
            name=name,
            ttl=ttl,
            profile=profile,
            ownership=ownership,
            now=now,
            changed=changed,
        )
        self._ttl = ttl
        self._now = now
        self._changed = changed
        self._stopping = threading.Event()
        self._wake_renewal = threading.Event()
        self._watch: Etcd | None = None
        self._away = False
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
        left = self._balancer.leave()
        self._wake_renewal.set()
        self._end_watch()
        for thread in self._threads:
            thread.join(LEAVE_SECONDS / 2)
        if left is None:
            return
        etcd = self._etcd.another()
        etcd.timeout = LEAVE_SECONDS / 2
        try:
            self._balancer.farewell(left, etcd)
        except PollectError as error:
            log.warning("cannot leave the fleet, others take over when the lease ends: %s", error)
        finally:
            etcd.close()

    def update_profile(self, profile: Profile) -> None:
        """Tell the other members about another config."""
        self._balancer.profile = profile
        self._end_watch()

    @property
    def members(self) -> Mapping[str, Mapping[str, object]]:
        """Name -> what each member says of itself, as last seen."""
        return self._balancer.members

    @property
    def owners(self) -> Mapping[int, str]:
        """Shard -> the name of its owner, as last seen."""
        return self._balancer.owners

    @property
    def differing(self) -> frozenset[str]:
        """Members whose config differs from this one's."""
        return self._balancer.differing

    @property
    def handovers(self) -> Mapping[str, int]:
        """How many shards came or went, by reason."""
        return self._balancer.handovers

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """A mistake of ours must not end the part of a daemon in its fleet without a word."""

        def run() -> None:
            while not self._stopping.is_set():
                try:
                    work()
                except Exception:
                    log.exception("an unexpected error in the fleet; continuing")
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
                term = self._balancer.term
                if term is None or term.over.is_set():
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
            self._balancer.depose(term, "the lease ended")
            self._end_watch()
            return True
        self._note_back()
        if self._balancer.prolong(term, asked + seconds * (1 - MARGIN)):
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
                    revision = self._balancer.rebalance(term)
                    pauses.reset()
                    while self._watch_in_silence(term, revision):
                        # An engine that is cut off from the others is silent as well.
                        if self._etcd.revision() != revision:
                            break
                except (EtcdUnavailable, EtcdRefused) as error:
                    self._note_away(error)
                    self._stopping.wait(pauses.pause())
        finally:
            self._etcd.close()

    def _current_term(self) -> Term:
        term = self._balancer.term
        if term is not None and not term.over.is_set():
            return term
        term = self._balancer.sign_in()
        self._wake_renewal.set()
        self._note_back()
        return term

    def _watch_in_silence(self, term: Term, revision: int) -> bool:
        """Return False when something changed after `revision`, True after a while without."""
        watch = self._watch = self._etcd.another()
        try:
            if self._stopping.is_set() or term.over.is_set():
                return False
            for _ in watch.watch(
                self._balancer.prefix, revision + 1, quiet=max(term.ttl, QUIET_SECONDS)
            ):
                self._stopping.wait(COALESCE_SECONDS)
                break
        except EtcdUnavailable as error:
            if not self._stopping.is_set():
                log.debug("%s", error)
            return isinstance(error.__cause__, TimeoutError)
        finally:
            self._watch = None
            watch.close()
        return False

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
    def _request_seconds(self) -> float:
        """A keepalive that hangs at one endpoint leaves time to ask the next ones."""
        return max(0.5, self._ttl / 6)
