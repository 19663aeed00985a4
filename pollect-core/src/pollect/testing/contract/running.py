"""Run sources for the contract: in time, plain or async, with everything they log remembered."""

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from types import TracebackType
from typing import Any, Self, TypeVar

from pollect.engine.loop import EventLoopThread
from pollect.model import Metric, Sample
from pollect.plugin import Source

ResultT = TypeVar("ResultT")

#: How long the tasks of an async source may take to end.
STOP_SECONDS = 5.0


class Running:
    """Opens, probes and closes a source as the engine does; an async one on a loop of its own,
    which runs between the probes as well.

        with Running(source) as running:
            samples = running.probe()

    The source is closed at the end of the block, whatever happened.
    """

    def __init__(self, source: Source[Any]) -> None:
        self._source = source
        self._opened = False
        self._loop: EventLoopThread | None = None
        if inspect.iscoroutinefunction(source.probe):
            self._loop = EventLoopThread()

    def open(self) -> None:
        """Open the source unless that was done. Raises whatever the source raises."""
        if not self._opened:
            self._complete(self._source.open())
            self._opened = True

    def probe(self) -> list[Sample]:
        """Open the source unless that was done, probe it, and return its samples.

        Raises whatever the source raises.
        """
        self.open()
        return as_samples(self._complete(self._source.probe()), self._source.metrics)

    def close(self) -> None:
        """Close the source; it can be opened again."""
        self._opened = False
        self._complete(self._source.close())

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
            if self._loop is not None:
                self._loop.stop(STOP_SECONDS)

    def _complete(self, value: Any) -> Any:
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:  # `open` or `close` is a coroutine function, `probe` is not
            raise AssertionError("open and close may only be async if probe is")
        return self._loop.submit(_awaited(value)).result()


async def _awaited(value: Any) -> Any:
    return await value


def as_samples(value: Any, declared: tuple[Metric, ...]) -> list[Sample]:
    """Return what a probe returned as a list of samples."""
    if value is None:
        return []
    if isinstance(value, Real):
        value = {None: value}
    if isinstance(value, Mapping):
        known = {metric.name: metric for metric in declared if not metric.labels}
        return [known.get(name, Metric(name)).sample(number) for name, number in value.items()]
    return list(value)


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
