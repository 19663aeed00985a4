"""One source on its own: what the engine does with it, without ticks, workers and writers.

`pollect probe` and the tests of authors look at a source this way.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from pollect.engine.guard import Guard
from pollect.engine.plan import SourcePlan
from pollect.engine.samples import Normalizer
from pollect.model import Outcome, ProbeResult
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread

ResultT = TypeVar("ResultT")

#: How long the tasks of an asynchronous source may take to end.
STOP_SECONDS = 5.0


class SingleSource:
    """Opens, probes and closes a source in the thread of the caller.

    An asynchronous one lives on an event loop of its own, which also runs between two probes.
    """

    def __init__(
        self, plan: SourcePlan, clock: Clock, normalizer: type[Normalizer] = Normalizer
    ) -> None:
        self._guard = Guard(plan, clock, normalizer)
        self._id = plan.id
        self._clock = clock
        self._loop: EventLoopThread | None = None

    def open(self) -> None:
        """Open the source unless it is open; raises whatever the source raises."""
        self._run(self._guard.open, self._guard.open_async)

    def probe(self) -> ProbeResult:
        """Probe the source, after opening it if needed; never raises."""
        try:
            return self._run(self._guard.probe, lambda: self._guard.probe_async(self._loop))
        except Exception as error:  # noqa: BLE001 - its event loop broke, or cannot start
            now = self._clock.time()
            return ProbeResult(self._id, Outcome.FAILED, (), now, error=error)

    def close(self) -> BaseException | None:
        """Close the source; it can be opened again. Logs and returns what the source raises."""
        return self._run(self._guard.close, self._guard.close_async)

    def stop(self) -> None:
        """End the event loop, if there is one."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop(STOP_SECONDS)

    def _run(
        self, plain: Callable[[], ResultT], on_loop: Callable[[], Coroutine[Any, Any, ResultT]]
    ) -> ResultT:
        if not self._guard.is_async:
            return plain()
        if self._loop is None or self._loop.over:
            from pollect.engine.loop import EventLoopThread  # asyncio is for those who need it

            self._loop = EventLoopThread()
        result: ResultT = self._loop.submit(on_loop).result()
        return result
