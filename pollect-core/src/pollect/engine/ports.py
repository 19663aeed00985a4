"""The writers of a running engine: opened, exchanged at a reload, closed."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pollect.delivery.direct import DirectPort
from pollect.delivery.receipts import LostCallback
from pollect.delivery.routing import Port, is_outbox
from pollect.engine.plan import ExecutorPlan
from pollect.errors import EngineError, PollectError, describe
from pollect.model import Batch, SourceId
from pollect.plugin import Clock, Writer
from pollect.plugin.traits import has_trait

log = logging.getLogger(__name__)

#: Seconds an in-process writer gets to open and to close.
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
#: Seconds after which a thread that waits for a plugin looks whether the engine stops.
GLANCE_SECONDS = 0.1
#: The source of the empty batch that lets a writer begin before there are values.
START = SourceId("pollect", "start")


class Ports:
    """The port of each writer, by the writer's identity."""

    def __init__(self, clock: Clock, lost: LostCallback) -> None:
        self._clock = clock
        self._lost = lost
        self._ports: dict[int, Port] = {}

    def of(self, plan: ExecutorPlan) -> list[Port]:
        """Return the ports of an executor's writers."""
        return [self._ports[id(writer)] for writer in plan.writers]

    def has(self, writer: Writer[Any]) -> bool:
        return id(writer) in self._ports

    def all(self) -> list[Port]:
        return list(self._ports.values())

    def direct(self) -> list[DirectPort]:
        return [port for port in self.all() if isinstance(port, DirectPort)]

    def open(self, writers: Iterable[Writer[Any]], stopping: threading.Event) -> None:
        """Open every writer that has no port yet.

        Raises `EngineError` when an in-process writer cannot open; what this call opened before
        is closed again.
        """
        before = dict(self._ports)
        try:
            for writer in writers:
                if id(writer) not in self._ports:
                    self._ports[id(writer)] = self._open(writer, stopping)
        except EngineError:
            opened = [port for key, port in self._ports.items() if key not in before]
            self._ports = before
            self.close(opened, 0.0)
            raise

    def unused_by(self, writers: Iterable[Writer[Any]]) -> list[Port]:
        """Return the ports of all writers but these."""
        wanted = set(map(id, writers))
        return [port for key, port in self._ports.items() if key not in wanted]

    def forget(self, ports: Sequence[Port]) -> None:
        """Leave out ports that are closed or about to be."""
        gone = {id(port) for port in ports}
        self._ports = {key: port for key, port in self._ports.items() if id(port) not in gone}

    def close(self, ports: Sequence[Port], seconds: float) -> None:
        """Deliver what is buffered for `seconds` at most, then close the writers."""
        until = self._clock.monotonic() + seconds
        outboxes = [port for port in ports if is_outbox(port)]
        for outbox in outboxes:
            outbox.stop()
        for outbox in outboxes:
            outbox.join(until - self._clock.monotonic())
        closings = [
            (port, InBackground(port.close, f"pollect-close-{port.name}"))
            for port in ports
            if isinstance(port, DirectPort)
        ]
        ends = time.monotonic() + CLOSE_SECONDS
        for port, closing in closings:
            if not closing.wait(max(0.0, ends - time.monotonic())):
                port.give_up()
                logging.getLogger(port.name).warning("does not close in time; left behind")

    def _open(self, writer: Writer[Any], stopping: threading.Event) -> Port:
        if not has_trait(writer, "in_process"):
            from pollect.delivery.outbox import Outbox

            outbox = Outbox(writer, clock=self._clock, lost=self._lost)
            outbox.start()
            if has_trait(writer, "opens_at_once"):
                outbox.deliver((Batch(START, (), self._clock.time()),))
            return outbox
        name = writer.context.name
        opening = InBackground(writer.open, f"pollect-open-{name}")
        ends = time.monotonic() + OPEN_SECONDS
        while not opening.wait(GLANCE_SECONDS):
            if stopping.is_set() or time.monotonic() >= ends:
                raise EngineError(f"writer {name}: does not open within {OPEN_SECONDS:g} s")
        if opening.error is not None:
            InBackground(writer.close, f"pollect-close-{name}").wait(CLOSE_SECONDS)
            error = opening.error
            if not isinstance(error, PollectError):
                log.error("writer %s fails to open", name, exc_info=error)
            raise EngineError(f"writer {name}: {describe(error)}") from error
        return DirectPort(writer, clock=self._clock, lost=self._lost)


class InBackground:
    """A call of plugin code in a thread of its own, for a caller who cannot wait long."""

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._done = threading.Event()
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self.error = error
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the call, `seconds` at most; return whether it ended."""
        return self._done.wait(seconds)

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self.error = error
        self._done.set()
