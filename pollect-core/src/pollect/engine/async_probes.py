"""The probes of one executor on one event loop."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pollect.engine.probe_run import ProbeRun
from pollect.engine.workers import WorkerCall, Workers

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread

#: Seconds in which results gather, while there are more to come: to wake a worker for each costs
#: more than what it does with it.
GATHER_SECONDS = 0.01


class AsyncProbes:
    """Runs probes on the loop, and lets worker threads pass on what comes of them."""

    def __init__(self, loop: "EventLoopThread", workers: Workers) -> None:
        self.loop = loop
        self._workers = workers
        #: How many run, and what is to be done with the results of others; for the loop's thread.
        self._running = 0
        self._ended: list[WorkerCall] = []

    def begin(self, runs: Sequence[ProbeRun]) -> None:
        """Start probes; raises `RuntimeError` if the loop is closed."""
        self.loop.start([(run, partial(self._probe, run)) for run in runs], self._lose)

    def cancel(self, run: ProbeRun) -> None:
        self.loop.cancel(run)

    def describe_block(self, run: ProbeRun) -> str:
        """Return in words what keeps the loop from running `run`, empty if nothing does."""
        culprit = self.loop.blocked_by(run.runner.guard.deadline_seconds)
        if culprit is None:
            return ""
        loop = f"the event loop of all {run.runner.id.type} sources"
        if culprit is run:
            return f"it blocks {loop}: what takes long must be awaited, or run in a thread"
        name = culprit.runner.id if isinstance(culprit, ProbeRun) else culprit
        return f"{name} blocks {loop}"

    async def _probe(self, run: ProbeRun) -> None:
        self._running += 1
        try:
            result = await run.runner.probe_async(run, self.loop)
        finally:
            self._running -= 1
        if result is not None:
            # Filters and writers must not hold up the loop.
            self._ended.append(WorkerCall(partial(run.runner.finish, run, result), brief=True))
            if self._running and len(self._ended) == 1:
                self.loop.call_later(GATHER_SECONDS, self._finish_ended)
        if not self._running:
            self._finish_ended()

    def _lose(self, run: ProbeRun, error: Exception) -> None:
        """Pass on that a probe was ended by something else than its source."""
        self._workers.submit([WorkerCall(partial(run.runner.fail, run, error), brief=True)])

    def _finish_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._workers.submit(ended)
