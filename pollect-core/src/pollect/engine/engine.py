"""The engine: runs a plan until it is stopped."""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pollect.delivery.outbox import Outbox
from pollect.delivery.routing import DirectPort, Port, Routes
from pollect.engine.executor import Executor
from pollect.engine.observers import Observers
from pollect.engine.plan import ExecutorPlan, Plan
from pollect.engine.runner import Runner
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.engine.selfmetrics import describe_sources, describe_writers
from pollect.errors import EngineError, PollectError, describe
from pollect.model import Batch, ProbeResult, SourceStatus, WriterStatus
from pollect.plugin import Clock, Writer

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread

_Named = TypeVar("_Named", Executor, ExecutorPlan)

#: Seconds a running probe gets to end by itself when the engine stops.
PROBE_GRACE_SECONDS = 0.2
#: Seconds all sources together get to close, and how many close side by side.
CLOSE_SECONDS = 2.0
CLOSING_THREADS = 8


class Engine:
    """Probes the sources of a plan on time and hands their values to its writers."""

    def __init__(self, plan: Plan, *, clock: Clock, hooks: Any = None) -> None:
        self._plan = plan
        self._clock = clock
        self._observers = Observers(hooks)
        self._scheduler = Scheduler(clock)
        self._loop: EventLoopThread | None = None
        self._ports: dict[int, Port] = {}
        self._executors: list[Executor] = []
        self._self_ticks: RepeatingTimer | None = None
        #: Sources that were not probed yet.
        self._awaited: set[Runner] = set()
        #: The last result of each source, kept only for `run_once`.
        self._results: dict[Runner, ProbeResult] | None = None
        self._stop_lock = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Open the writers, probe every source now and from now on at its interval.

        Returns at once. Raises `EngineError` when an in-process writer cannot open, with
        everything that was started stopped again.
        """
        self._open_ports()
        self._start_executors()
        self._schedule_self_metrics()
        self._scheduler.start()
        self._observers.notify(
            "pollect_started", sources=[runner.plan.id for runner in self._runners()]
        )

    def stop(self) -> None:
        """Stop probing, close the sources, deliver what is buffered, close the writers.

        Takes `shutdown_timeout` at most, and a moment more for sources and disks that hang.
        """
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            self._plan.stopping.set()
            self._scheduler.stop()
            for executor in self._executors:
                executor.stop_ticks()
            grace_ends = self._clock.monotonic() + PROBE_GRACE_SECONDS
            for executor in self._executors:
                executor.workers.wait_idle(max(0.0, grace_ends - self._clock.monotonic()))
            self._close(list(self._runners()))
            for executor in self._executors:
                executor.flush()
            self._close_ports(list(self._ports.values()))
            if self._loop is not None:
                self._loop.stop(PROBE_GRACE_SECONDS)
            self._observers.notify("pollect_stopped")

    def replace(self, plan: Plan) -> None:
        """Run another plan from now on, leaving alone what is the same in both.

        A source goes on if its `SourcePlan` is equal, a writer if it is the same object. Raises
        `EngineError` when a new in-process writer cannot open; the old plan then goes on.
        """
        wanted = {id(writer) for writer in _writers(plan.executors)}
        unused = [port for key, port in self._ports.items() if key not in wanted]
        self._exchange_ports(plan, unused)
        self._plan = plan
        self._schedule_self_metrics()
        known = dict(_numbered(self._executors))
        self._executors = []
        for key, section in _numbered(plan.executors):
            executor = known.pop(key, None)
            if executor is None:
                executor = self._executor(section)
                executor.start()
            else:
                gone = executor.update(section, self._routes(section))
                self._retire(executor, gone)
                executor.hand_over(gone)
                executor.start_added()
            self._executors.append(executor)
        for executor in known.values():
            executor.stop_ticks()
            self._retire(executor, executor.runners)
            executor.flush()
        self._close_ports([port for port in unused if isinstance(port, Outbox)])
        plan.ready.set()

    def run_once(self) -> list[ProbeResult]:
        """Probe every source once, write what they bring, stop; return the results."""
        self._results = {}
        self._open_ports()
        self._start_executors(once=True)
        self._scheduler.start()
        self._plan.ready.wait()
        self.stop()
        return [self._results[runner] for runner in self._runners() if runner in self._results]

    def call_every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` from now on, for as long as the scheduler keeps its ticks.

        It is called in the scheduler's thread, so it must be quick.
        """
        RepeatingTimer(self._scheduler, self._clock, seconds, callback)

    def source_statuses(self) -> list[SourceStatus]:
        """Return how every source fares, in the order of the plan."""
        return [runner.status() for runner in self._runners()]

    def writer_statuses(self) -> list[WriterStatus]:
        """Return how every writer fares."""
        return [port.status() for port in list(self._ports.values())]

    def self_batches(self) -> list[Batch]:
        """Return the metrics of pollect itself and what plugins add; empty if switched off."""
        if not self._plan.self_metrics:
            return []
        now = self._clock.time()
        batches = [
            describe_sources(self.source_statuses(), now),
            describe_writers(self.writer_statuses(), now),
        ]
        for added in self._observers.collect("pollect_self_samples"):
            batches.extend(added)
        return [batch for batch in batches if len(batch)]

    def _open_ports(self) -> None:
        try:
            for writer in _writers(self._plan.executors):
                self._add_port(writer)
        except EngineError:
            self.stop()
            raise

    def _start_executors(self, *, once: bool = False) -> None:
        self._executors = [self._executor(plan) for plan in self._plan.executors]
        self._awaited = set(self._runners())
        if not self._awaited:
            self._plan.ready.set()
        for executor in self._executors:
            executor.start(once=once)

    def _exchange_ports(self, plan: Plan, unused: Sequence[Port]) -> None:
        """Open the new writers of `plan` after closing those that may stand in their way.

        A new in-process one may well listen where the old one did, and a new one with other options
        goes on with the spool of the old one.
        """
        closed = [
            port for port in unused if isinstance(port, DirectPort) or port.writer.config.spool
        ]
        self._close_ports(closed)
        before = dict(self._ports)
        try:
            for writer in _writers(plan.executors):
                if id(writer) not in self._ports:
                    self._add_port(writer)
        except EngineError:
            opened = [port for key, port in self._ports.items() if key not in before]
            self._close_ports(opened)
            self._ports = before
            for port in closed:
                self._add_port(port.writer)
            for section, executor in zip(self._plan.executors, self._executors, strict=True):
                executor.routes = self._routes(section)
            raise
        for port in unused:
            del self._ports[id(port.writer)]

    def _retire(self, executor: Executor, runners: Sequence[Runner]) -> None:
        """Close sources for good and withdraw what they wrote."""
        self._close(runners)
        for runner in runners:
            batch = runner.farewell()
            if batch is not None:
                executor.routes.write(batch)

    def _runners(self) -> Iterable[Runner]:
        return (runner for executor in self._executors for runner in executor.runners)

    def _add_port(self, writer: Writer[Any]) -> None:
        if not writer.in_process:
            outbox = Outbox(writer, clock=self._clock, lost=self._batch_lost)
            self._ports[id(writer)] = outbox
            outbox.start()
            return
        try:
            writer.open()
        except PollectError as error:
            writer.close()
            raise EngineError(f"writer {writer.context.name}: {describe(error)}") from error
        self._ports[id(writer)] = DirectPort(writer, lost=self._batch_lost)

    def _executor(self, plan: ExecutorPlan) -> Executor:
        return Executor(
            plan,
            self._routes(plan),
            clock=self._clock,
            scheduler=self._scheduler,
            event_loop=self._event_loop,
            finished=self._probe_finished,
        )

    def _routes(self, plan: ExecutorPlan) -> Routes:
        ports = [self._ports[id(writer)] for writer in plan.writers]
        return Routes(ports, self._plan.filters)

    def _event_loop(self) -> "EventLoopThread":
        if self._loop is None:
            # Ten megabytes of asyncio, for those who have a source that needs it.
            from pollect.engine.loop import EventLoopThread

            self._loop = EventLoopThread()
        return self._loop

    def _probe_finished(self, runner: Runner, result: ProbeResult) -> None:
        if self._results is not None:
            self._results[runner] = result
        if self._awaited:
            self._awaited.discard(runner)
            if not self._awaited:
                self._plan.ready.set()
        self._observers.notify("pollect_probe_finished", result=result)

    def _batch_lost(self, writer: str, batch: Batch, error: BaseException | None) -> None:
        self._observers.notify("pollect_batch_lost", writer=writer, batch=batch, error=error)

    def _schedule_self_metrics(self) -> None:
        if self._self_ticks is not None:
            self._self_ticks.stop()
            self._self_ticks = None
        if self._plan.self_metrics:
            self._self_ticks = RepeatingTimer(
                self._scheduler, self._clock, self._plan.tick_time, self._send_self_metrics
            )

    def _send_self_metrics(self) -> None:
        told = [
            port
            for port in self._ports.values()
            if not port.writer.in_process and _wants_self_metrics(port.writer)
        ]
        if told:
            batches = self.self_batches()
            for port in told:
                port.deliver(batches)

    def _close(self, runners: Sequence[Runner]) -> None:
        """Close sources side by side, those that hang last; give up on what takes too long."""
        busy = {runner for runner in runners if runner.stop()}
        waiting: queue.SimpleQueue[Runner] = queue.SimpleQueue()
        for runner in sorted(runners, key=busy.__contains__):
            waiting.put(runner)
        left = set(runners)

        def work() -> None:
            while True:
                try:
                    runner = waiting.get_nowait()
                except queue.Empty:
                    return
                if runner.guard.is_async:
                    self._event_loop().submit(runner.guard.close_async()).result()
                else:
                    runner.guard.close()
                left.discard(runner)

        threads = [
            threading.Thread(target=work, name="pollect-close", daemon=True)
            for _ in range(min(CLOSING_THREADS, len(runners)))
        ]
        for thread in threads:
            thread.start()
        until = self._clock.monotonic() + CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        for runner in left:
            runner.plan.source.log.warning("does not close in time; left behind")

    def _close_ports(self, ports: Sequence[Port]) -> None:
        until = self._clock.monotonic() + self._plan.shutdown_timeout
        outboxes = [port for port in ports if isinstance(port, Outbox)]
        for outbox in outboxes:
            outbox.stop()
        for outbox in outboxes:
            outbox.join(until - self._clock.monotonic())
        for port in ports:
            if isinstance(port, DirectPort):
                try:
                    port.writer.close()
                except Exception as error:  # noqa: BLE001 - the other writers are closed as well
                    port.writer.log.warning("close failed: %s", describe(error))


def _numbered(parts: Sequence[_Named]) -> Iterator[tuple[tuple[str, int], _Named]]:
    """Yield parts with their name and a number that tells those of the same name apart."""
    seen: Counter[str] = Counter()
    for part in parts:
        yield (part.name, seen[part.name]), part
        seen[part.name] += 1


def _writers(executors: Sequence[ExecutorPlan]) -> Iterable[Writer[Any]]:
    """Return every writer once, in the order of the plan."""
    return {id(w): w for executor in executors for w in executor.writers}.values()


def _wants_self_metrics(writer: Writer[Any]) -> bool:
    wanted = writer.config.self_metrics
    return writer.self_metrics if wanted is None else wanted
