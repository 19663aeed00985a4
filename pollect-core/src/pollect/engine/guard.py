"""The guard around a source: whatever its code does becomes a `ProbeResult`.

Everything of a source is called from here, in a worker thread or on the event loop, and whatever
it raises stays here.
"""

import inspect
import itertools
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, cast

import msgspec

from pollect.engine.plan import SourcePlan
from pollect.engine.samples import Normalizer
from pollect.errors import NoData, PollectError, describe
from pollect.model import Outcome, ProbeResult
from pollect.plugin import Clock, ProbeValue, Source
from pollect.troubles import Troubles

_NUMBERS = (float, int)
#: Of a copy of the daemon that a source made; EX_SOFTWARE of sysexits.h.
COPY_EXIT_CODE = 70
#: What a probe gets at least when the config does not say.
DEADLINE_SECONDS = 10.0
#: Pauses of `Source.retry_after` that count.
MOST_PAUSES = 100
# Needed at every probe, and on Python 3.11 the name of a member costs a call.
_OK, _NO_DATA = Outcome.OK, Outcome.NO_DATA


class Guard:
    """Opens, probes and closes one source; never raises.

    What the engine must know of the source is read when it opens and kept as plain numbers, for the
    scheduler to look at.
    """

    def __init__(
        self, plan: SourcePlan, clock: Clock, normalizer: type[Normalizer] = Normalizer
    ) -> None:
        self._source = plan.source
        self._id = plan.id
        self._log = plan.log
        self._clock = clock
        self._normalizer = normalizer(
            plan.source.metrics, plan.filter, self._log, plan.label_rules, plan.max_series
        )
        #: Whether `open()` succeeded; while false every probe starts with another try.
        self.opened = False
        #: Whether the source lives on the event loop.
        self.is_async = inspect.iscoroutinefunction(plan.source.probe)
        #: Seconds a probe may take.
        self.deadline_seconds = plan.config_timeout or max(plan.interval, DEADLINE_SECONDS)
        #: Seconds its values stay true, None for the engine's rule.
        self.hold: float | None = None
        #: Seconds until another try after each failed probe in a row.
        self.retry_after: tuple[float, ...] = ()
        self._retry_after: Sequence[float] = ()
        self._complained: tuple[str, ...] = ()
        self._previous: Source[Any] | None = None
        #: On which event loop it opened.
        self._loop: object = None

    @property
    def dropped(self) -> int:
        """How many values were left out for being more than `maxSeries`."""
        return self._normalizer.limit.dropped

    def take_over(self, previous: Source[Any]) -> None:
        """Let the source take over from the one it replaces before it opens, if of its kind."""
        if type(self._source) is type(previous):
            self._previous = previous

    def read_traits(self) -> None:
        """Ask the source how it wants to be treated; a mistake costs only the answer.

        Asked before it opens, and once it did: what a source knows of its device only then.
        """
        source = self._source
        try:
            seconds = source.deadline_seconds()
            if _is_positive(seconds):
                self.deadline_seconds = seconds
            else:
                self._complain(f"deadline_seconds(): expected seconds above 0, got {seconds!r:.40}")
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self._complain(f"deadline_seconds() failed: {describe(error)}")
        try:
            hold = source.hold
            self.hold = hold if hold is not None and _is_positive(hold) else None
            if source.retry_after is not self._retry_after:
                self._retry_after = source.retry_after
                pauses = itertools.islice(self._retry_after, MOST_PAUSES)
                self.retry_after = tuple(filter(_is_positive, pauses))
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self._complain(f"hold or retry_after cannot be used: {describe(error)}")

    def open(self) -> None:
        """Open the source unless it is open, in this thread; raises whatever the source raises."""
        if not self.opened:
            self._inherit()
            _refuse_coroutine(self._source.open())
            self.opened = True
            self.read_traits()

    async def open_async(self) -> None:
        """Do what `open` does with a source whose `probe` is a coroutine function."""
        if not self.opened:
            self._inherit()
            await _completed(self._source.open())
            self.opened = True
            self.read_traits()

    def probe(self) -> ProbeResult:
        """Open the source if needed and probe it, in this thread."""
        process = os.getpid()
        started = self._clock.monotonic()
        try:
            if not self.opened:
                self.open()
            # What `is_async` says of it; a `cast` would cost a call at every probe.
            value: ProbeValue = self._source.probe()  # type: ignore[assignment]
            return self._values(started, value)
        except BaseException as error:  # noqa: BLE001 - any failure is the source's alone
            return self._failure(started, error)
        finally:
            if os.getpid() != process:
                self._end_copy()

    async def probe_async(self, loop: object = None) -> ProbeResult:
        """Do what `probe` does with a source whose `probe` is a coroutine function.

        On another `loop` than at the last call it is closed before: what it has belongs to that.
        """
        started = self._clock.monotonic()
        try:
            before, self._loop = self._loop, loop
            if self.opened and before is not loop:
                await self.close_async()
            await self.open_async()
            return self._values(started, cast(ProbeValue, await _completed(self._source.probe())))
        except BaseException as error:  # noqa: BLE001 - any failure is the source's alone
            return self._failure(started, error)

    def close(self) -> BaseException | None:
        """Close the source, in this thread; log and return what it raises."""
        self.opened = False
        process = os.getpid()
        try:
            _refuse_coroutine(self._source.close())
        except BaseException as error:  # noqa: BLE001 - closing goes on with the next source
            return self._close_failed(error)
        finally:
            if os.getpid() != process:
                self._end_copy()
        return None

    async def close_async(self) -> BaseException | None:
        """Do what `close` does on the event loop."""
        self.opened = False
        try:
            await _completed(self._source.close())
        except BaseException as error:  # noqa: BLE001 - closing goes on with the next source
            return self._close_failed(error)
        return None

    def _end_copy(self) -> NoReturn:
        """End this process: the source forked, and came back here in the copy.

        That would go on as a second daemon, with the ports and files of the first.
        """
        # Any lock may be held for good in a copy, that of the log too.
        with suppress(OSError):
            os.write(2, f"pollect: {self._id} forked and returned: the copy ends\n".encode())
        os._exit(COPY_EXIT_CODE)

    def _close_failed(self, error: BaseException) -> BaseException:
        self._log.warning("close failed: %s", describe(error))
        return error

    def _inherit(self) -> None:
        previous, self._previous = self._previous, None
        if previous is None:
            return
        try:
            self._source.take_over(previous)
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self._log.warning("starts without the state of its predecessor: %s", describe(error))

    def _values(self, started: float, value: ProbeValue) -> ProbeResult:
        samples = self._normalizer.clean(value)
        outcome, clock = _OK if samples else _NO_DATA, self._clock
        return self._answered(
            ProbeResult(self._id, outcome, samples, clock.time(), clock.monotonic() - started)
        )

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
        try:
            return self._judged(started, error)
        except BaseException as fault:  # noqa: BLE001 - attributes of a plugin's own error
            return ProbeResult(self._id, Outcome.BUG, (), *self._times(started), error=fault)

    def _judged(self, started: float, error: BaseException) -> ProbeResult:
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

    def _complain(self, problem: str) -> None:
        if problem not in self._complained and len(self._complained) < 10:
            self._complained += (problem,)
            self._log.error("%s", problem)


def _is_positive(value: object) -> bool:
    return isinstance(value, _NUMBERS) and 0 < value <= math.inf


def _refuse_coroutine(value: object) -> None:
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("open and close may be coroutine functions only if probe is one")


async def _completed(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
