"""Probes on demand: what Prometheus asks of blackbox_exporter and snmp_exporter, `/probe`.

Each probe has a thread of its own, as many at a time as its module allows. One that does not return
keeps its place until it does.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from pollect.config.addresses import split_target
from pollect.config.config import Config
from pollect.config.inventory import Target
from pollect.config.probes import AllowList, ProbeSection
from pollect.daemon.source_plan import plan_source
from pollect.delivery.routing import Routes
from pollect.engine.executor import CLOSE_SECONDS
from pollect.engine.guard import Guard
from pollect.engine.plan import SourcePlan
from pollect.engine.samples import cleaning
from pollect.engine.scheduler import Scheduler
from pollect.errors import ConfigError, InvalidConfig, describe
from pollect.model import Batch, Kind, Metric, ProbeResult, SourceId
from pollect.plugin import Clock, ProbeAnswer, Source, SourceConfig, SourceContext
from pollect.support.redirects import redirects_only_to

log = logging.getLogger("pollect.probes")

#: Seconds that a probe may take when neither the request nor its module says.
DEFAULT_SECONDS = 10.0
#: What a scraper would not wait for anyway.
LONGEST_SECONDS = 300.0

SOURCE = SourceId("pollect", "probe")
REQUESTS = Metric(
    "requests_total",
    help="Probes that were asked for over HTTP, by how they ended.",
    kind=Kind.COUNTER,
    labels=("module", "outcome"),
)
RUNNING = Metric("running", help="Probes over HTTP that run now.", labels=("module",))
METRICS = (REQUESTS, RUNNING)

Answered = Callable[[ProbeAnswer], None]


class ProbeDesk:
    """Takes requests for probes of the modules of one config."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        stopping: threading.Event,
        filters: Sequence[Callable[[Batch], Batch | None]] = (),
    ) -> None:
        self._clock = clock
        self._routes = Routes((), [cleaning(accept) for accept in filters])
        self._scheduler = Scheduler(clock)
        self._started = False
        self._lock = threading.Lock()
        base = SourceContext(
            id=SOURCE,
            interval=DEFAULT_SECONDS,
            clock=clock,
            config_dir=config.directory,
            state_dir=config.state_dir,
            config_file=config.file.absolute(),
            roots=config.roots,
            stopping=stopping,
        )
        self._modules = {
            section.name: _Module(section, base, config.labels) for section in config.probes
        }

    @property
    def modules(self) -> Sequence[str]:
        """The names of the modules."""
        return tuple(self._modules)

    def probe(self, module: str, target: str, seconds: float | None, answered: Answered) -> None:
        """Probe `target`; `answered` is called once, in any thread, after `seconds` at most."""
        found = self._modules.get(module)
        if found is None:
            names = ", ".join(self._modules)
            problem = f"no module {module[:80]!r}; there are: {names}"
            answered(ProbeAnswer(refused="unknown", problem=problem))
            return
        try:
            host = split_target(target).host
        except ValueError as error:
            answered(found.refuse("unknown", str(error)))
            return
        if not found.allowed.allows(host):
            problem = f"module {module} is not allowed to probe {host[:80]!r}, list it in `allow`"
            answered(found.refuse("forbidden", problem))
            return
        if not found.places.acquire(blocking=False):
            most = found.section.options.concurrency
            answered(found.refuse("busy", f"{most} probes of {module} run already, try again"))
            return
        self._start()
        limit = found.limit(seconds)
        run = _Run(found, Target(target), limit, self._clock, self._routes, answered)
        try:
            threading.Thread(target=run.run, name=f"pollect-probe-{module}", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left, now
            found.places.release()
            answered(found.refuse("busy", f"no thread for a probe: {error}"))
            return
        run.deadline = self._scheduler.call_at(self._clock.monotonic() + limit, run.give_up)

    def stop(self) -> None:
        """Answer no deadline any more; what runs is left behind."""
        self._scheduler.stop()

    def batch(self, time: float) -> Batch:
        """Return how many probes were asked for, and how many run."""
        samples = []
        for name, module in self._modules.items():
            counts = dict(module.counts)
            samples += [REQUESTS.sample(count, name, word) for word, count in counts.items()]
            samples.append(RUNNING.sample(module.running, name))
        return Batch(SOURCE, samples, time)

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                self._started = True
                self._scheduler.start()


class _Module:
    """One module and how it fares."""

    def __init__(
        self, section: ProbeSection, base: SourceContext, labels: Mapping[str, str]
    ) -> None:
        self.section = section
        self.allowed = AllowList(section.options.allow)
        self.places = threading.BoundedSemaphore(section.options.concurrency)
        self.counts: Counter[str] = Counter()
        self.running = 0
        self._base = base
        self._labels = labels
        self._lock = threading.Lock()

    def refuse(self, refused: Any, problem: str) -> ProbeAnswer:
        self.count(refused)
        return ProbeAnswer(refused=refused, problem=problem)

    def count(self, word: str, running: int = 0) -> None:
        with self._lock:
            if word:
                self.counts[word] += 1
            self.running += running

    def limit(self, seconds: float | None) -> float:
        """Return the seconds that a probe may take, of those that the request has for it."""
        if seconds is None:
            own = getattr(self.section.example, "timeout", None)
            own_seconds = float(own) if isinstance(own, int | float) else 0.0
            seconds = max(own_seconds, DEFAULT_SECONDS)
        return min(seconds, LONGEST_SECONDS)

    def plan(self, target: Target, seconds: float) -> SourcePlan:
        """Return a source for one probe. Raises `ConfigError` if there is none for the target."""
        config = self.section.blueprint.make(target)
        source = self._source(config, seconds)
        return plan_source(
            source,
            config,
            interval=self._base.interval,
            labels=self._labels,
            path=self.section.blueprint.path,
        )

    def _source(self, config: SourceConfig, seconds: float) -> Source[Any]:
        identity = SourceId(self.section.options.collection, config.type, config.name)
        context = msgspec.structs.replace(self._base, id=identity)
        build = self.section.blueprint.source_type
        timeout = config.timeout
        if isinstance(timeout, int | float) and timeout > seconds:
            # A request that is given up in time says why; a probe that is cut off does not.
            try:
                return build(msgspec.structs.replace(config, timeout=seconds), context)
            except ConfigError:  # too short for another option
                pass
        return build(config, context)


class _Run:
    """One probe on its way."""

    def __init__(
        self,
        module: _Module,
        target: Target,
        seconds: float,
        clock: Clock,
        routes: Routes,
        answered: Answered,
    ) -> None:
        self._module = module
        self._target = target
        self._seconds = seconds
        self._clock = clock
        self._routes = routes
        self._answered = answered
        self._begun = clock.monotonic()
        self._lock = threading.Lock()
        self._over = False
        self.deadline: Any = None

    def run(self) -> None:
        """Probe in this thread."""
        self._module.count("", running=1)
        try:
            self._answer(self._probe())
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self._answer(ProbeAnswer(problem=describe(error)), "failed")
        finally:
            self._module.count("", running=-1)
            self._module.places.release()

    def give_up(self) -> None:
        """Answer that time is up, unless there is an answer already."""
        self._answer(ProbeAnswer(problem=f"no answer within {self._seconds:g} s"), "timed_out")

    def _probe(self) -> ProbeAnswer:
        try:
            plan = self._module.plan(self._target, self._seconds)
        except ConfigError as error:
            problem = error.problems[0] if isinstance(error, InvalidConfig) else error
            return ProbeAnswer(refused="unknown", problem=str(problem))
        guard = Guard(plan, self._clock)
        # Who answers for an allowed host must not choose what else is asked.
        with redirects_only_to(self._module.allowed.allows):
            if guard.is_async:
                result = asyncio.run(_probe_async(guard, self._seconds))
            else:
                result = guard.probe()
                guard.close()
        batch = Batch(plan.id, result.samples, result.time, plan.static_labels)
        return ProbeAnswer(
            batch=self._routes.filtered(batch),
            success=result.outcome.healthy,
            problem="; ".join(result.troubles) or describe(result.error),
            outcome=result.outcome.value,
        )

    def _answer(self, answer: ProbeAnswer, word: str = "") -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        if self.deadline is not None:
            self.deadline.cancel()
        self._module.count(word or answer.refused or answer.outcome)
        duration = self._clock.monotonic() - self._begun
        self._answered(msgspec.structs.replace(answer, duration_seconds=duration))


async def _probe_async(guard: Guard, seconds: float) -> ProbeResult:
    """Probe and close; what awaits for longer gives its place back, as the answer is given."""
    try:
        async with asyncio.timeout(seconds):
            return await guard.probe_async()
    finally:
        async with asyncio.timeout(CLOSE_SECONDS):
            await guard.close_async()
