"""What there is to know of a running daemon, for the page, `/status.json` and `pollect status`.

It is put together in `summaries`, which is imported when somebody looks: most daemons are only
scraped.
"""

import queue
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pollect.engine.engine import Engine
from pollect.engine.plan import Plan, SourcePlan
from pollect.errors import TargetUnavailable
from pollect.model import ProbeResult, Reload, SourceId
from pollect.plugin import Clock, Writer
from pollect.support.names import metric_name

if TYPE_CHECKING:
    from pollect.status import FleetStatus, SourceDetail, Status

#: Seconds to wait for a probe that was asked for: at least, beyond its time, and at most.
SHORTEST_WAIT = 10.0
WAIT_GRACE = 1.0
LONGEST_WAIT = 120.0


class Overview:
    """Looks at a running engine; may be asked from any thread."""

    def __init__(self, engine: Engine, plan: Plan, *, clock: Clock, config: str) -> None:
        self.engine = engine
        #: Exchanged by a reload.
        self.plan = plan
        self.state_dir = ""
        self.last_reload = Reload(time=clock.time(), successful=True)
        #: Names the distribution of a source type.
        self.plugin_of: Callable[[str], str] = lambda type_name: ""
        #: In a fleet: how it fares, whether this daemon may probe a source, its shard and owner.
        self.fleet: Callable[[], FleetStatus] | None = None
        self.owned: Callable[[SourceId], bool] = lambda source: True
        self.place_of: Callable[[SourceId], tuple[int, str] | None] = lambda source: None
        self.clock = clock
        self._config = config
        self.started = clock.time()
        self.host = socket.gethostname()

    def status(self, writer: str | None = None) -> "Status":
        """Return everything at a glance; with `writer` only the sources whose values it gets."""
        from pollect.daemon.summaries import status_of

        return status_of(self, writer)

    def detail(self, source: str, writer: str | None = None) -> "SourceDetail | None":
        """Return everything about one source; None if no source has this id."""
        from pollect.daemon.summaries import detail_of

        return detail_of(self, source, writer)

    def probe_now(self, source: str, writer: str | None = None) -> ProbeResult | None:
        """Probe a source now and return the result; None for an unknown source.

        Waits as long as a probe may take. Raises `TargetUnavailable` when none ends in that time,
        or when another member of the fleet probes the source.
        """
        plan = next((p for p in self.plans_of(writer).values() if str(p.id) == source), None)
        if plan is None:
            return None
        if not self.owned(plan.id):
            place = self.place_of(plan.id)
            owner = f"it is probed by {place[1]}" if place and place[1] else "it has no owner now"
            raise TargetUnavailable(f"{source}: not probed by this member of the fleet: {owner}")
        results: queue.SimpleQueue[ProbeResult] = queue.SimpleQueue()
        try:
            forget = self.engine.probe_now(plan.id, results.put)
        except KeyError:
            return None
        seconds = max(plan.config_timeout or 0.0, plan.interval, SHORTEST_WAIT) + WAIT_GRACE
        try:
            return results.get(timeout=min(seconds, LONGEST_WAIT))
        except queue.Empty:
            raise TargetUnavailable(
                f"{source}: the probe did not end within {min(seconds, LONGEST_WAIT):g} s"
            ) from None
        finally:
            forget()

    @property
    def file(self) -> Path:
        """The config."""
        return Path(self._config)

    def plans(self) -> list[SourcePlan]:
        """Return every source, in the order of the config."""
        return list(self.plans_of(None).values())

    def metrics_of(self, plan: SourcePlan) -> set[str]:
        """Return the names, as in Prometheus, of what a source reports."""
        lines = self.engine.history.past(plan.id).lines
        return {metric_name(plan.written_id, line.metric.name) for line in lines}

    def writers_of(self, plan: SourcePlan) -> set[str]:
        """Return the names of the writers that get the values of a source."""
        return {
            writer.context.name
            for executor in self.plan.executors
            if any(source.id == plan.id for source in executor.sources)
            for writer in executor.writers
        }

    def plans_of(self, writer: str | None) -> dict[SourceId, SourcePlan]:
        """Return the sources whose values a writer gets; with None every source."""
        return {
            source.id: source
            for executor in self.plan.executors
            if writer is None or any(one.context.name == writer for one in executor.writers)
            for source in executor.sources
        }

    def writer_types(self) -> dict[str, str]:
        """Return the type of each writer by its name."""
        writers: Iterable[Writer[Any]] = (
            writer for executor in self.plan.executors for writer in executor.writers
        )
        return {writer.context.name: writer.config.type for writer in writers}
