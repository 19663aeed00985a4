"""What the writers have of one source, and until when that is true."""

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pollect.engine.guard import Guard
from pollect.engine.plan import SourcePlan
from pollect.engine.probe_run import Executing
from pollect.model import Batch, Outcome, ProbeResult
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.delivery.routing import MergedTick
    from pollect.engine.renaming import Renaming

#: A value stays true for this many intervals without a new probe that works.
FRESH_INTERVALS = 2.5


class Values:
    """The batches of one source, in order: no older one overtakes a newer one.

    Threads hold `order` while a result is decided on and put into the queues of the writers; the
    scheduler's thread never takes it, and only reads `fresh_until`.
    """

    __slots__ = (
        "_clock", "_executor", "_guard", "_plan", "_tick", "fresh_until", "order", "renaming",
        "series",
    )  # fmt: skip

    def __init__(
        self, plan: SourcePlan, guard: Guard, executor: Executing, *, clock: Clock
    ) -> None:
        self._plan = plan
        self._guard = guard
        self._executor = executor
        self._clock = clock
        self.order = threading.Lock()
        #: How many series the writers have.
        self.series = 0
        #: Monotonic seconds until which they are true; infinite without a limit.
        self.fresh_until = math.inf
        #: Of a source that may choose its name while it runs.
        self.renaming: Renaming | None = None
        #: Which tick the last batch was put into, where it may still wait for slower sources.
        self._tick: MergedTick | None = None

    def batch(self, result: ProbeResult, term: tuple[int, int] | None = None) -> Batch | None:
        """Return what the writers get for a result, None for nothing; runs the plugins' filters."""
        fresh: float | None = None
        if result.samples and not self._plan.keep_stale and (fresh := self._lifetime) == math.inf:
            fresh = None
        return self._executor.filtered(
            Batch(self._plan.id, result.samples, result.time, self._plan.static_labels, fresh, term)
        )

    def take(self, result: ProbeResult, batch: Batch | None, tick: "MergedTick | None") -> None:
        """Pass on what came of a probe, and let its tick go on; holds `order`."""
        if result.samples:
            self.series = len(result.samples)
            if not self._plan.keep_stale:
                self.fresh_until = self._clock.monotonic() + self._lifetime
                self._executor.watch_freshness(self.fresh_until)
        elif result.withdraw:
            batch = batch if self.series else None
            self._forget()
        if batch is not None:
            self._put(batch, tick)
        elif tick is not None:
            tick.end()

    def expire(self) -> None:
        """Withdraw values that are too old; in a thread of the engine."""
        self.withdraw(lambda: self.fresh_until <= self._clock.monotonic())

    def withdraw(self, still_wanted: Callable[[], bool]) -> None:
        """Write that the source has no values any more, if there are some and that still holds."""
        batch = self.batch(ProbeResult(self._plan.id, Outcome.NO_DATA, (), self._clock.time()))
        with self.order:
            if not self.series or not still_wanted():
                return
            self._forget()
            if batch is not None:
                self._put(batch, None)
        self._executor.settle()

    def _forget(self) -> None:
        self.series = 0
        self.fresh_until = math.inf

    def _put(self, batch: Batch, tick: "MergedTick | None") -> None:
        """Hand a batch to the writers, after the one before it; holds `order`."""
        before, self._tick = self._tick, tick
        if before is not None and before is not tick and not before.over:
            before.close()
        self._executor.record(batch)
        self._executor.put(batch, tick, self.renaming)

    @property
    def _lifetime(self) -> float:
        """Seconds for which values hold without a new probe that works."""
        hold = self._guard.hold
        return FRESH_INTERVALS * self._plan.interval if hold is None else hold
