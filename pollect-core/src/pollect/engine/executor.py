"""One collection at run time: its sources, when they are probed, its worker threads."""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pollect.delivery.routing import MergedTick, Routes
from pollect.engine.foreign import Foreign
from pollect.engine.groups import TickGroup
from pollect.engine.history import History
from pollect.engine.loops import EventLoops, kind_of
from pollect.engine.plan import ExecutorPlan, Ownership, SourcePlan
from pollect.engine.probe_run import ProbeRun
from pollect.engine.runner import Runner
from pollect.engine.scheduler import Scheduler, Timer
from pollect.engine.workers import WorkerCall, Workers
from pollect.errors import describe
from pollect.model import Batch, ProbeResult
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.engine.async_probes import AsyncProbes
    from pollect.engine.renaming import Renaming

log = logging.getLogger(__name__)

#: Seconds that a single source on an event loop gets to close.
CLOSE_SECONDS = 2.0


class Executor:
    """Begins the probes of its sources at their ticks and passes on what they bring."""

    def __init__(
        self,
        plan: ExecutorPlan,
        routes: Routes,
        *,
        clock: Clock,
        scheduler: Scheduler,
        loops: EventLoops,
        errand: Callable[[Callable[[], None]], None],
        finished: Callable[[Runner, ProbeResult | None], None],
        history: History,
        foreign: Foreign,
        ownership: Ownership | None = None,
    ) -> None:
        self.name = plan.name
        self.routes = routes
        self.errand = errand
        self.finished = finished
        self.record = history.record
        self.note = history.note
        self._clock = clock
        self._scheduler = scheduler
        self._loops = loops
        self._foreign = foreign
        self._ownership = ownership
        self._spread = plan.spread
        shortest = min((source.interval for source in plan.sources), default=1.0)
        self.workers = Workers(plan.name, plan.threads, shortest, clock=clock, scheduler=scheduler)
        #: By `kind_of` their sources.
        self._async_probes: dict[int, AsyncProbes] = {}
        self.runners = list(self._new_runners(plan.sources).values())
        self._groups: dict[float, TickGroup] = {}
        #: When to look for values that are too old, in monotonic seconds; minus infinity: never.
        self._expiry_at = math.inf
        self._expiry: Timer | None = None
        self._expiry_lock = threading.Lock()

    def start(self, *, once: bool = False) -> None:
        """Probe everything now and, unless `once`, from now on at its interval.

        What a single round brings stays, however long its slowest probe takes.
        """
        if once:
            self._expiry_at = -math.inf
        self._schedule(self.runners, once=once)

    def update(self, plan: ExecutorPlan, routes: Routes) -> tuple[list[Runner], list[Runner]]:
        """Follow a new plan; return the runners it has no place for, and its new ones.

        Sources whose plan is equal go on untouched, except for one more probe when there is a new
        writer: it need not wait for their values until their next tick. The new ones begin with
        `start_added`.
        """
        self.workers.resize(plan.threads)
        self._spread = plan.spread
        for group in self._groups.values():
            group.spread = plan.spread
        known = {id(runner.plan.source): runner for runner in self.runners}
        same = {
            id(source.source): known[id(source.source)]
            for source in plan.sources
            if id(source.source) in known and known[id(source.source)].plan.is_same(source)
        }
        kept = list(same.values())
        added = self._new_runners(
            source for source in plan.sources if id(source.source) not in same
        )
        staying = set(kept)
        gone = [runner for runner in self.runners if runner not in staying]
        news = bool(routes.ports - self.routes.ports)
        self.routes = routes
        for interval, group in list(self._groups.items()):
            group.keep(staying)
            if not group.runners:
                group.flush()
                del self._groups[interval]
        both = same | added
        self.runners = [
            both[id(source.source)] for source in plan.sources if id(source.source) in both
        ]
        kinds = {kind_of(runner.plan.source) for runner in self.runners}
        for kind in self._async_probes.keys() - kinds:
            del self._async_probes[kind]
        if news:
            self._schedule(kept, once=True)
        return gone, list(added.values())

    def start_added(self, added: Sequence[Runner], gone: Sequence[Runner]) -> None:
        """Begin new sources, each as the heir of the closed one of its name, if there is one."""
        previous = {runner.id: runner for runner in gone}
        for runner in added:
            heir_of = previous.get(runner.id)
            if heir_of is not None and heir_of.plan.source is not runner.plan.source:
                runner.guard.take_over(heir_of.plan.source)
        self._schedule(added)

    def stop_ticks(self) -> None:
        """Begin no probe any more, and forget those that wait for a worker."""
        for group in self._groups.values():
            group.stop()
        self.workers.stop()

    def flush(self, *, drain: bool = True) -> None:
        """Hand over what waits for slower sources of the same tick."""
        for group in self._groups.values():
            group.flush()
        if drain:
            self.routes.drain()

    def check_ownership(self, *, probe_now: bool) -> None:
        """Withdraw the sources that are another's now; take up those that came.

        With `probe_now` they are probed at once, otherwise where the daemon before left off.
        """
        came: dict[float, list[tuple[Runner, float]]] = {}
        for runner in self.runners:
            if runner.came():
                stopped = -math.inf if probe_now else self._stopped_before(runner)
                if stopped is not None:
                    came.setdefault(runner.plan.interval, []).append((runner, stopped))
        for interval, members in came.items():
            if group := self._groups.get(interval):  # a reload has yet to begin with the others
                group.take_up(members)

    def _stopped_before(self, runner: Runner) -> float | None:
        return None if self._ownership is None else self._ownership.since(runner.id)

    # What runners ask for, see `Executing`.

    def filtered(self, batch: Batch) -> Batch | None:
        routes = self.routes
        return routes.filtered(batch) if routes.filters else batch

    def put(
        self,
        batch: Batch,
        tick: MergedTick | None = None,
        renaming: "Renaming | None" = None,
    ) -> None:
        if renaming is not None:
            *former, batch = renaming.renamed(batch)
            for withdrawn in former:
                self.routes.put(withdrawn, None)
        self.routes.put(batch, tick)

    def settle(self) -> None:
        self.routes.drain()

    def drop(self, run: ProbeRun) -> None:
        if not run.reported:
            run.tick.end()
        self.routes.drain()

    def watch_freshness(self, until: float) -> None:
        # Asked at every probe that works: one look after the earliest serves all of them.
        if until >= self._expiry_at:
            return
        with self._expiry_lock:
            if until < self._expiry_at:
                if self._expiry is not None:
                    self._expiry.cancel()
                self._expiry_at = until
                self._expiry = self._scheduler.call_at(until, self._check_freshness)

    def _check_freshness(self) -> None:
        """Withdraw the values that are too old, and look again when the next ones may be."""
        with self._expiry_lock:
            self._expiry_at, self._expiry = math.inf, None
        now = self._clock.monotonic()
        earliest = math.inf
        for runner in self.runners:
            values = runner.values
            if values.fresh_until <= now:
                self.errand(values.expire)
            elif values.fresh_until < earliest:
                earliest = values.fresh_until
        self.watch_freshness(earliest)

    def abandon(self, run: ProbeRun) -> None:
        if run.runner.guard.is_async:
            if probes := self._async_probes.get(kind_of(run.runner.plan.source)):
                probes.cancel(run)
        else:
            self.workers.write_off(run)

    def again(self, runner: Runner) -> None:
        tick = self._new_tick()
        self._begin([runner], tick, None, retry=True)
        tick.end()

    def close(self, runner: Runner) -> None:
        if not runner.guard.is_async:
            runner.guard.close()
            return
        try:
            loop = self._loops.of(runner.plan.source, runner.id.type)
            loop.submit(runner.guard.close_async).result(CLOSE_SECONDS)
        except TimeoutError:
            runner.plan.log.warning("does not close in time; left behind")
        except Exception as error:  # noqa: BLE001 - the loop broke, or there is no thread for one
            runner.plan.log.warning("close failed: %s", describe(error))

    def hurry(self, runner: Runner) -> None:
        """Probe a source now, out of its turn."""
        runner.hurry()
        self._scheduler.call_at(self._clock.monotonic(), lambda: self.again(runner))

    def describe_wait(self, run: ProbeRun) -> str:
        if run.runner.guard.is_async:
            return f"its event loop: {self.describe_block(run) or 'it is busy'}"
        return (
            f"a free thread of executor {self.name!r} ({self.workers.describe_load()}): give "
            "sources that hang a shorter timeout, or an executor of their own"
        )

    def describe_block(self, run: ProbeRun) -> str:
        probes = self._async_probes.get(kind_of(run.runner.plan.source))
        return probes.describe_block(run) if probes is not None else ""

    def _new_runners(self, plans: Iterable[SourcePlan]) -> dict[int, Runner]:
        """Return a runner for each plan by the identity of its source, broken ones left out."""
        runners: dict[int, Runner] = {}
        for plan in plans:
            try:
                runner = Runner(
                    plan,
                    self,
                    clock=self._clock,
                    scheduler=self._scheduler,
                    ownership=self._ownership,
                )
                if plan.names_itself:
                    from pollect.engine.renaming import Renaming  # for extensions of 1.x only

                    runner.values.renaming = Renaming(plan, self._foreign)
                self._connect(runner, plan)
                if runner.guard.is_async:
                    # asyncio takes its time to import; the scheduler has none. Without a thread
                    # for the loop each tick tries again.
                    with suppress(RuntimeError):
                        self._async(runner)
                runners[id(plan.source)] = runner
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                name = type(plan.source).__name__
                log.error("%s: a %s is left out: %s", self.name, name, describe(error))
        return runners

    def _connect(self, runner: Runner, plan: SourcePlan) -> None:
        """Give a source that relays batches of other daemons the way to the writers."""
        relay = getattr(plan.source, "relay", None)
        if relay is None:
            return
        # Only for those who consume a broker.
        from pollect.engine.relaying import RelayCarrier
        from pollect.relay import Relay

        if isinstance(relay, Relay):
            runner.carrier = RelayCarrier(
                lambda: self.routes,
                self._foreign,
                clock=self._clock,
                scheduler=self._scheduler,
                errand=self.errand,
            )
            relay.connect(runner.carrier)

    def _schedule(self, runners: Sequence[Runner], *, once: bool = False) -> None:
        """Begin with `runners` in the scheduler's thread."""
        by_interval: dict[float, list[Runner]] = {}
        for runner in runners:
            by_interval.setdefault(runner.plan.interval, []).append(runner)
        for interval, members in by_interval.items():
            group = self._groups.get(interval)
            if group is None:
                group = self._groups[interval] = TickGroup(
                    interval,
                    begin=self._begin,
                    new_tick=self._new_tick,
                    errand=self.errand,
                    clock=self._clock,
                    scheduler=self._scheduler,
                    aligned=self._ownership is not None,
                )
            group.spread = self._spread
            group.add(members, once=once)

    def _new_tick(self) -> MergedTick:
        return MergedTick(self._put_merged)

    def _put_merged(self, batches: Sequence[Batch]) -> None:
        # A reload may have brought other writers while the tick waited for its sources.
        self.routes.put_merged(batches)
        if self.routes.merges_directly:
            # This may well be the scheduler's thread.
            self.errand(self.routes.drain)

    def _begin(
        self,
        runners: Sequence[Runner],
        tick: MergedTick,
        next_due: float | None,
        *,
        retry: bool = False,
    ) -> None:
        calls: list[WorkerCall] = []
        for_loop: list[ProbeRun] = []
        for runner in runners:
            run = runner.begin(tick, next_due=next_due, retry=retry)
            if run is None:
                continue
            if runner.guard.is_async:
                for_loop.append(run)
            else:
                calls.append(run)
        tick.begin(len(calls) + len(for_loop))
        self.workers.submit(calls)
        if for_loop:
            self._begin_async(for_loop)

    def _begin_async(self, runs: Sequence[ProbeRun]) -> None:
        by_kind: dict[int, list[ProbeRun]] = {}
        for run in runs:
            by_kind.setdefault(kind_of(run.runner.plan.source), []).append(run)
        for members in by_kind.values():
            try:
                self._async(members[0].runner).begin(members)
            except RuntimeError as error:
                # No thread for the loop, or it is closed.
                for run in members:
                    self.errand(partial(run.runner.fail, run, error))

    def _async(self, runner: Runner) -> "AsyncProbes":
        source = runner.plan.source
        loop = self._loops.of(source, runner.id.type)
        probes = self._async_probes.get(kind_of(source))
        if probes is None or probes.loop is not loop:
            from pollect.engine.async_probes import AsyncProbes

            probes = self._async_probes[kind_of(source)] = AsyncProbes(loop, self.workers)
        return probes
