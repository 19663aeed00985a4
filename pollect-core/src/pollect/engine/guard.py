"""The guard around a source: whatever its code does becomes a `ProbeResult`.

This holds the one broad `except` of the project.
"""

import inspect
from typing import Any, cast

import msgspec

from pollect.engine.plan import SourcePlan
from pollect.engine.samples import Normalizer
from pollect.errors import NoData, PollectError, describe
from pollect.model import Outcome, ProbeResult
from pollect.plugin import Clock, ProbeValue, Source
from pollect.troubles import Troubles


class Guard:
    """Opens, probes and closes one source; never raises."""

    def __init__(self, plan: SourcePlan, clock: Clock) -> None:
        self._source = plan.source
        self._id = plan.id
        self._clock = clock
        self._normalizer = Normalizer(plan.source.metrics, plan.filter, plan.source.log)
        #: Whether `open()` succeeded; while false every probe starts with another try.
        self.opened = False
        #: Whether the source lives on the event loop.
        self.is_async = inspect.iscoroutinefunction(plan.source.probe)

    def take_over(self, previous: Source[Any]) -> None:
        """Let the source take over from the one it replaces, if that is of its kind."""
        if type(self._source) is not type(previous):
            return
        try:
            self._source.take_over(previous)
        except Exception as error:  # noqa: BLE001 - a reload goes on with the next source
            self._source.log.warning("begins anew: %s", describe(error))

    def probe(self) -> ProbeResult:
        """Open the source if needed and probe it, in this thread."""
        started = self._clock.monotonic()
        try:
            if not self.opened:
                self._source.open()
                self.opened = True
            return self._values(started, cast(ProbeValue, self._source.probe()))
        except BaseException as error:  # noqa: BLE001 - any failure is the source's alone
            return self._failure(started, error)

    async def probe_async(self) -> ProbeResult:
        """Do what `probe` does with a source whose `probe` is a coroutine function."""
        started = self._clock.monotonic()
        try:
            if not self.opened:
                await _completed(self._source.open())
                self.opened = True
            return self._values(started, cast(ProbeValue, await _completed(self._source.probe())))
        except BaseException as error:  # noqa: BLE001 - any failure is the source's alone
            return self._failure(started, error)

    def close(self) -> None:
        """Close the source, in this thread."""
        self.opened = False
        try:
            self._source.close()
        except BaseException as error:  # noqa: BLE001 - closing goes on with the next source
            self._closing_failed(error)

    async def close_async(self) -> None:
        """Do what `close` does on the event loop."""
        self.opened = False
        try:
            await _completed(self._source.close())
        except BaseException as error:  # noqa: BLE001 - closing goes on with the next source
            self._closing_failed(error)

    def _values(self, started: float, value: ProbeValue) -> ProbeResult:
        samples = self._normalizer.clean(value)
        outcome = Outcome.OK if samples else Outcome.NO_DATA
        return self._answered(ProbeResult(self._id, outcome, samples, *self._times(started)))

    def _answered(self, result: ProbeResult) -> ProbeResult:
        """Return the result of a source that works, with the troubles it has with its parts."""
        troubles = getattr(self._source, "troubles", None)
        # A source that never called the constructor of its base has none.
        if not isinstance(troubles, Troubles) or not troubles:
            return result
        return msgspec.structs.replace(
            result,
            outcome=Outcome.TROUBLED,
            troubles=troubles.texts(),
            trouble_count=len(troubles),
        )

    def _failure(self, started: float, error: BaseException) -> ProbeResult:
        match error:
            case NoData():
                nothing = ProbeResult(
                    self._id,
                    Outcome.NO_DATA,
                    (),
                    *self._times(started),
                    error=error,
                    withdraw=error.withdraw,
                )
                return self._answered(nothing)
            case PollectError():
                outcome = Outcome.FAILED
            case _:
                outcome = Outcome.BUG
        return ProbeResult(self._id, outcome, (), *self._times(started), error=error)

    def _times(self, started: float) -> tuple[float, float]:
        return self._clock.time(), self._clock.monotonic() - started

    def _closing_failed(self, error: BaseException) -> None:
        self._source.log.warning("close failed: %s", describe(error))


async def _completed(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
