"""The engine: runs a plan until it is stopped."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec

from pollect.delivery.routing import Port, Routes, is_outbox
from pollect.engine.closing import close_runners
from pollect.engine.executor import Executor
from pollect.engine.foreign import Foreign
from pollect.engine.history import History
from pollect.engine.loops import EventLoops
from pollect.engine.observers import Observers
from pollect.engine.plan import ExecutorPlan, Ownership, Plan
from pollect.engine.ports import Ports
from pollect.engine.runner import Runner
from pollect.engine.samples import cleaning
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.engine.selfmetrics import SourceMetrics, describe_writers
from pollect.engine.values import FRESH_INTERVALS
from pollect.engine.watching import Watching
from pollect.engine.workers import WorkerCall, Workers
from pollect.errors import EngineError
from pollect.model import Batch, ProbeResult, SourceId, SourceStatus, WriterStatus
from pollect.plugin import Clock, Writer

log = logging.getLogger(__name__)

_Named = TypeVar("_Named", Executor, ExecutorPlan)

#: Seconds a running probe gets to end by itself when the engine stops.
PROBE_GRACE_SECONDS = 0.2
#: Seconds observers get for what they were not called for yet when the engine stops.
OBSERVER_SECONDS = 0.5
#: Seconds an in-process writer gets for the first values before the engine is ready all the same.
SETTLE_SECONDS = 1.0
#: Seconds a reload gets to end when the engine is to stop.
RELOAD_GRACE_SECONDS = 1.0


class Engine:
    """Probes the sources of a plan on time and hands their values to its writers."""

    def __init__(
        self,
        plan: Plan,
        *,
        clock: Clock,
        hooks: Any = None,
        ownership: Ownership | None = None,
        own_batches: Callable[[], Sequence[Batch]] = tuple,
    ) -> None:
        """`own_batches`: what the daemon around the engine adds to the metrics of pollect."""
        self._plan = plan
        self._own_batches = own_batches
        self._source_metrics = SourceMetrics()
        self.history = History(plan.history)
        self._watching = Watching(self.history, self.writer_statuses)
        self._clock = clock
        self._ownership = ownership
        self._observers = Observers(hooks, clock=clock)
        self._scheduler = Scheduler(clock)
        #: Calls that may take their time, on behalf of the scheduler.
        self._errands = Workers("engine", 1, 1.0, clock=clock, scheduler=self._scheduler)
        self._loops = EventLoops()
        self._ports = Ports(clock, self._batch_lost)
        self._executors: list[Executor] = []
        #: What sources of other daemons are called here.
        self._foreign = Foreign()
        self._self_ticks: RepeatingTimer | None = None
        #: Sources that were not probed yet.
        self._awaited: set[Runner] = set()
        #: The last result of each source, kept only for `run_once`.
        self._results: dict[Runner, ProbeResult] | None = None
        self._changing = threading.Lock()
        self._stop_lock = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Open the writers, probe every source now and from now on at its interval.

        Returns at once. Raises `EngineError` when an in-process writer cannot open, with
        everything that was started stopped again.
        """
        self._open_ports()
        self._follow_history()
        self._start_executors()
        self._schedule_self_metrics()
        self._scheduler.start()
        self._observers.notify("pollect_started", sources=[runner.id for runner in self._runners()])

    def stop(self) -> None:
        """Stop probing, close the sources, deliver what is buffered, close the writers.

        Takes `shutdown_timeout` at most, and a moment more for plugins and disks that hang.
        """
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            self._plan.stopping.set()
            # A reload that hangs in a plugin must not keep the daemon.
            changed = self._changing.acquire(timeout=RELOAD_GRACE_SECONDS)
            try:
                self._stop()
            finally:
                if changed:
                    self._changing.release()

    def replace(self, plan: Plan) -> None:
        """Run another plan from now on, leaving alone what is the same in both.

        A source goes on if its `SourcePlan` is equal, a writer if it is the same object. Raises
        `EngineError` when a new in-process writer cannot open; the old plan then goes on.
        """
        with self._changing:
            if self._stopped:
                raise EngineError("stopping: the config is no longer changed")
            unused = self._ports.unused_by(_writers(plan.executors))
            closed = self._exchange_ports(plan, unused)
            self._plan = plan
            self._schedule_self_metrics()
            self._follow_history()
            retired = self._exchange_executors(plan)
            left = [port for port in unused if port not in closed]
            self._ports.close(left, plan.shutdown_timeout)
            for executor in retired:
                executor.flush()
            self._loops.keep(runner.plan.source for runner in self._runners())
            self._loops.replace_blocked()
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

    def ownership_changed(self, *, probe_now: bool = False) -> None:
        """Take note that sources went to or came from another daemon; may be called any time.

        What came is probed at its next tick, where the daemon before would have probed it; with
        `probe_now` at once, when there was none.
        """
        check = partial(self._check_ownership, probe_now=probe_now)
        self._scheduler.call_at(self._clock.monotonic(), check)

    def call_every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` from now on, for as long as the scheduler keeps its ticks.

        It is called in the scheduler's thread, so it must be quick.
        """
        RepeatingTimer(self._scheduler, self._clock, seconds, callback)

    def probe_now(
        self, source: SourceId, ended: Callable[[ProbeResult], None]
    ) -> Callable[[], None]:
        """Probe a source now, unless it is being probed; call `ended` with what comes of it.

        Returns what ends the wait for it. Raises `KeyError` for a source that does not run here.
        """
        for executor in self._executors:
            for runner in executor.runners:
                if runner.id == source:
                    forget = self._watching.wait_for(source, ended)
                    executor.hurry(runner)
                    return forget
        raise KeyError(source)

    def source_statuses(self) -> list[SourceStatus]:
        """Return how every source fares, in the order of the plan."""
        return [runner.status() for runner in self._runners()]

    def writer_statuses(self) -> list[WriterStatus]:
        """Return how every writer fares."""
        return [port.status() for port in self._ports.all()]

    def self_batches(self) -> list[Batch]:
        """Return the metrics of pollect itself and what plugins add; empty if switched off."""
        if not self._plan.self_metrics:
            return []
        now = self._clock.time()
        batches = [
            self._source_metrics.describe((runner.status() for runner in self._runners()), now),
            describe_writers(self.writer_statuses(), now),
            *self._own_batches(),
            *self._observers.self_batches(),
        ]
        return [batch for batch in batches if len(batch)]

    def _open_ports(self) -> None:
        try:
            self._ports.open(_writers(self._plan.executors), self._plan.stopping)
        except EngineError:
            self.stop()
            raise

    def _start_executors(self, *, once: bool = False) -> None:
        self._executors = [self._executor(plan) for plan in self._plan.executors]
        self._foreign.follow(runner.id for runner in self._runners())
        self._awaited = set(self._runners())
        if not self._awaited:
            self._plan.ready.set()
        for executor in self._executors:
            executor.start(once=once)

    def _stop(self) -> None:
        self._scheduler.stop()
        for executor in self._executors:
            executor.stop_ticks()
        grace_ends = self._clock.monotonic() + PROBE_GRACE_SECONDS
        for executor in self._executors:
            executor.workers.wait_idle(max(0.0, grace_ends - self._clock.monotonic()))
        self._close(list(self._runners()))
        for executor in self._executors:
            # An in-process writer that blocks would keep this thread; `Ports.close` does not wait.
            executor.flush(drain=False)
        self._ports.close(self._ports.all(), self._plan.shutdown_timeout)
        self._errands.stop()
        self._loops.stop(PROBE_GRACE_SECONDS)
        self._observers.notify("pollect_stopped")
        self._observers.stop(OBSERVER_SECONDS)

    def _exchange_ports(self, plan: Plan, unused: Sequence[Port]) -> Sequence[Port]:
        """Open the new writers of `plan` after closing those that may stand in their way.

        Returns those of `unused` that are closed; the others still take what is on its way.

        A new in-process one may well listen where the old one did, and a new one with other options
        goes on with the spool of the old one.
        """
        new = [writer for writer in _writers(plan.executors) if not self._ports.has(writer)]
        if not new:
            self._ports.forget(unused)
            return ()
        closed = [port for port in unused if not is_outbox(port) or port.writer.config.spool]
        self._ports.forget(closed)
        self._ports.close(closed, plan.shutdown_timeout)
        try:
            self._ports.open(new, self._plan.stopping)
        except EngineError:
            if self._stopped:
                raise
            self._ports.open([port.writer for port in closed], self._plan.stopping)
            for section, executor in zip(self._plan.executors, self._executors, strict=True):
                executor.routes = self._routes(section)
            raise
        self._ports.forget(unused)
        return closed

    def _exchange_executors(self, plan: Plan) -> list[Executor]:
        """Run the executors of `plan`; return those it has no place for, stopped."""
        known = dict(_numbered(self._executors))
        executors: list[Executor] = []
        changes: list[tuple[Executor, list[Runner], list[Runner]]] = []
        started: list[Executor] = []
        for key, section in _numbered(plan.executors):
            executor = known.pop(key, None)
            if executor is None:
                executor = self._executor(section)
                started.append(executor)
            else:
                gone, added = executor.update(section, self._routes(section))
                changes.append((executor, gone, added))
            executors.append(executor)
        # From here on everything that looks sees the new plan, however long closing takes.
        self._executors = executors
        self._foreign.follow(runner.id for runner in self._runners())
        retired = list(known.values())
        for executor in retired:
            executor.stop_ticks()
        gone_for_good = [runner for _, gone, _ in changes for runner in gone]
        self._close([*gone_for_good, *(r for executor in retired for r in executor.runners)])
        if self._stopped:
            return retired
        for executor in started:
            executor.start()
        for executor, gone, added in changes:
            executor.start_added(added, gone)
        return retired

    def _runners(self) -> Iterable[Runner]:
        return (runner for executor in self._executors for runner in executor.runners)

    def _executor(self, plan: ExecutorPlan) -> Executor:
        return Executor(
            plan,
            self._routes(plan),
            clock=self._clock,
            scheduler=self._scheduler,
            loops=self._loops,
            errand=self._errand,
            finished=self._probe_finished,
            history=self.history,
            foreign=self._foreign,
            ownership=self._ownership,
        )

    def _routes(self, plan: ExecutorPlan) -> Routes:
        return Routes(self._ports.of(plan), [cleaning(accept) for accept in self._plan.filters])

    def _close(self, runners: Sequence[Runner]) -> None:
        close_runners(runners, self._loops, is_stopping=lambda: self._stopped)

    def _errand(self, call: Callable[[], None]) -> None:
        self._errands.submit([WorkerCall(call)])

    def _check_ownership(self, *, probe_now: bool) -> None:
        for executor in self._executors:
            executor.check_ownership(probe_now=probe_now)

    def _probe_finished(self, runner: Runner, result: ProbeResult | None) -> None:
        """Take note of a result, None for a source that is another daemon's."""
        if self._results is not None and result is not None:
            self._results[runner] = result
        if runner in self._awaited:
            self._awaited.discard(runner)
            if not self._awaited:
                # By way of the scheduler: this worker is about to hand its values to the writers.
                now = self._clock.monotonic()
                self._scheduler.call_at(now, lambda: self._errand(self._become_ready))
        if result is not None:
            self._watching.note(result)
        if result is not None and self._observers.has("pollect_probe_finished"):
            self._observers.notify("pollect_probe_finished", result=result)

    def _follow_history(self) -> None:
        intervals = {}
        for executor in self._plan.executors:
            for plan in executor.sources:
                # A source that cannot even be asked for its id is left out, with a message.
                with suppress(Exception):
                    intervals[plan.id] = plan.interval
        self.history.follow(intervals, self._plan.history)

    def _become_ready(self) -> None:
        for port in self._ports.direct():
            port.wait_idle(SETTLE_SECONDS)
        self._plan.ready.set()

    def _batch_lost(self, writer: str, batch: Batch, error: BaseException | None) -> None:
        self._observers.notify("pollect_batch_lost", writer=writer, batch=batch, error=error)

    def _schedule_self_metrics(self) -> None:
        seconds = self._plan.tick_time if self._plan.self_metrics else None
        if self._self_ticks is not None:
            if self._self_ticks.interval == seconds:
                return
            self._self_ticks.stop()
            self._self_ticks = None
        if seconds is not None:
            self._self_ticks = RepeatingTimer(
                self._scheduler, self._clock, seconds, lambda: self._errand(self._send_self_metrics)
            )

    def _send_self_metrics(self) -> None:
        ports = [port for port in self._ports.all() if is_outbox(port) and port.wants_self_metrics]
        if ports:
            fresh = FRESH_INTERVALS * self._plan.tick_time
            batches = [
                msgspec.structs.replace(batch, fresh_seconds=fresh) for batch in self.self_batches()
            ]
            for port in ports:
                port.deliver(batches)


def _numbered(parts: Sequence[_Named]) -> Iterator[tuple[tuple[str, int], _Named]]:
    """Yield parts with their name and a number that tells those of the same name apart."""
    seen: Counter[str] = Counter()
    for part in parts:
        yield (part.name, seen[part.name]), part
        seen[part.name] += 1


def _writers(executors: Sequence[ExecutorPlan]) -> Iterable[Writer[Any]]:
    """Return every writer once, in the order of the plan."""
    return {id(w): w for executor in executors for w in executor.writers}.values()
