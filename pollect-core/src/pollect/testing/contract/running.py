"""Run sources for the contract: in time, plain or async, with everything they log remembered."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from pollect.engine.plan import SourcePlan
from pollect.engine.samples import Normalizer
from pollect.engine.single import SingleSource
from pollect.model import Sample
from pollect.plugin import ProbeValue, Source

ResultT = TypeVar("ResultT")


class Running:
    """Opens, probes and closes a source as the engine does; an async one on a loop of its own,
    which runs between the probes as well.

        with Running(source) as running:
            samples = running.probe()

    The source is closed at the end of the block, whatever happened.
    """

    def __init__(self, source: Source[Any]) -> None:
        context = source.context
        plan = SourcePlan(source=source, interval=context.interval)
        self._single = SingleSource(plan, context.clock, _AsReturned)

    def open(self) -> None:
        """Open the source unless that was done. Raises whatever the source raises."""
        self._single.open()

    def probe(self) -> list[Sample]:
        """Open the source unless that was done, probe it, and return its samples.

        They are as the source returned them. Raises whatever the source raises.
        """
        result = self._single.probe()
        if result.error is not None:
            raise result.error
        return list(result.samples)

    def close(self) -> None:
        """Close the source; it can be opened again. Raises whatever the source raises."""
        error = self._single.close()
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        finally:
            self._single.stop()


class _AsReturned(Normalizer):
    """Takes samples as they are: what a daemon would leave out is for the test to see."""

    def clean(self, value: ProbeValue) -> list[Sample]:
        return list(self.samples_of(value))


def in_time(action: Callable[[], ResultT], limit_seconds: float, what: str) -> ResultT:
    """Return what `action` returns, or raise what it raises, in `limit_seconds` at most."""
    results: list[ResultT] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name=f"contract: {what}", daemon=True)
    thread.start()
    thread.join(limit_seconds)
    if thread.is_alive():
        raise AssertionError(f"{what}: still busy after {limit_seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def expect_error(
    action: Callable[[], object], expected: type[Exception], limit_seconds: float, what: str
) -> None:
    """Demand that `action` raises `expected` in `limit_seconds`; any other end breaks the promise.

    `what` names the situation in the complaint.
    """
    try:
        in_time(action, limit_seconds, what)
    except expected:
        return
    except AssertionError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{what}: expected {expected.__name__}, got {found}") from error
    raise AssertionError(f"{what}: no error, expected {expected.__name__}")


@contextmanager
def remembered_log() -> Iterator[list[str]]:
    """Collect every log record of the block, those of libraries and of level debug included."""
    lines: list[str] = []

    class Memory(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter("%(name)s %(message)s").format(record))

    root, memory = logging.getLogger(), Memory()
    level = root.level
    root.addHandler(memory)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(memory)
