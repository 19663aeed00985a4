"""One collection at run time: its sources, their ticks, their worker threads."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pollect.delivery.routing import MergedTick, Routes
from pollect.engine.plan import ExecutorPlan, SourcePlan
from pollect.engine.runner import ProbeRun, Runner
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.engine.workers import WorkerCall, Workers
from pollect.model import Batch, ProbeResult
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread


class DueGroup:
    """Sources of one executor that are due together."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self.runners = list(runners)
        self.last_tick: MergedTick | None = None
        #: None for a group that is probed once.
        self.timer: RepeatingTimer | None = None


class Executor:
    """Begins the probes of its sources at their ticks and passes on what they bring."""

    def __init__(
        self,
        plan: ExecutorPlan,
        routes: Routes,
        *,
        clock: Clock,
        scheduler: Scheduler,
        event_loop: "Callable[[], EventLoopThread]",
        finished: Callable[[Runner, ProbeResult], None],
    ) -> None:
        self.name = plan.name
        self.routes = routes
        self._clock = clock
        self._scheduler = scheduler
        self._event_loop = event_loop
        self._finished = finished
        shortest = min((source.interval for source in plan.sources), default=1.0)
        self.workers = Workers(plan.name, plan.threads, shortest, clock=clock, scheduler=scheduler)
        self.runners = [self._runner(source) for source in plan.sources]
        self._added: list[Runner] = []
        self._owed: list[Runner] = []
        self._rounds: list[tuple[DueGroup, RepeatingTimer | None]] = []

    def start(self, *, once: bool = False) -> None:
        """Probe everything now and, unless `once`, from now on at its interval."""
        self._schedule(self.runners, once=once)

    def update(self, plan: ExecutorPlan, routes: Routes) -> list[Runner]:
        """Follow a new plan: begin its new sources and return the runners it has no place for.

        Sources whose plan is equal go on untouched, except for one more probe when there is a new
        writer: it need not wait for their values until their next tick.
        """
        self.workers.resize(plan.threads)
        kept: list[Runner] = []
        added: list[Runner] = []
        for source in plan.sources:
            runner = next((known for known in self.runners if known.plan == source), None)
            (kept if runner else added).append(runner or self._runner(source))
        gone = [runner for runner in self.runners if runner not in kept]
        self._end_single_rounds()
        for members, _ in self._rounds:
            members.runners = [runner for runner in members.runners if runner in kept]
        self._owed = kept if routes.ports - self.routes.ports else []
        self.routes = routes
        self.runners = kept + added
        self._added = added
        return gone

    def hand_over(self, gone: Sequence[Runner]) -> None:
        """Let the sources of the last `update` take over from closed ones of the same name."""
        for runner in self._added:
            for previous in gone:
                if previous.plan.id == runner.plan.id:
                    runner.guard.take_over(previous.plan.source)

    def start_added(self) -> None:
        """Begin what the last `update` brought."""
        self._schedule(self._added)
        self._schedule(self._owed, once=True)
        self._added, self._owed = [], []

    def stop_ticks(self) -> None:
        """Begin no probe any more, and forget those that wait for a worker."""
        for _, ticks in self._rounds:
            if ticks is not None:
                ticks.stop()
        self.workers.stop()

    def flush(self) -> None:
        """Hand over what waits for slower sources of the same tick."""
        for members, _ in self._rounds:
            if members.last_tick is not None:
                members.last_tick.close()

    def _end_single_rounds(self) -> None:
        for members, ticks in self._rounds:
            if ticks is None and members.last_tick is not None:
                members.last_tick.close()
        self._rounds = [(members, ticks) for members, ticks in self._rounds if ticks is not None]

    def _runner(self, plan: SourcePlan) -> Runner:
        return Runner(
            plan,
            clock=self._clock,
            scheduler=self._scheduler,
            deliver=self._deliver,
            withdraw=self._withdraw,
            abandon=self._abandon,
            again=self._again,
        )

    def _schedule(self, runners: Sequence[Runner], *, once: bool = False) -> None:
        by_interval: dict[float, list[Runner]] = {}
        for runner in runners:
            by_interval.setdefault(runner.plan.interval, []).append(runner)
        for interval, group in by_interval.items():
            members = DueGroup(group)
            callback = partial(self._tick, members)
            ticks = None
            if once:
                self._scheduler.call_at(self._clock.monotonic(), callback)
            else:
                ticks = RepeatingTimer(self._scheduler, self._clock, interval, callback)
                members.timer = ticks
            self._rounds.append((members, ticks))

    def _tick(self, members: DueGroup) -> None:
        if members.last_tick is not None:
            members.last_tick.close()
        tick = members.last_tick = self.routes.tick()
        next_due = members.timer.due if members.timer is not None else None
        self._begin(members.runners, tick, next_due=next_due)
        tick.end()

    def _again(self, runner: Runner) -> None:
        """Probe one source between two ticks."""
        tick = self.routes.tick()
        self._begin([runner], tick, retry=True)
        tick.end()

    def _begin(
        self,
        runners: Sequence[Runner],
        tick: MergedTick,
        *,
        next_due: float | None = None,
        retry: bool = False,
    ) -> None:
        jobs: list[WorkerCall] = []
        for runner in runners:
            run = runner.begin(tick, next_due=next_due, retry=retry)
            if run is None:
                continue
            tick.begin()
            if runner.guard.is_async:
                run.future = self._event_loop().submit(runner.probe_async(run))
            else:
                run.job = WorkerCall(partial(runner.probe, run))
                jobs.append(run.job)
        self.workers.submit(jobs)

    def _abandon(self, run: ProbeRun) -> None:
        if run.job is not None:
            self.workers.write_off(run.job)
        if run.future is not None:
            run.future.cancel()

    def _deliver(self, run: ProbeRun, result: ProbeResult, batch: Batch | None) -> None:
        if batch is None:
            run.tick.end()
        else:
            self.routes.write(batch, run.tick)
        self._finished(run.runner, result)

    def _withdraw(self, batch: Batch) -> None:
        self.routes.write(batch)
