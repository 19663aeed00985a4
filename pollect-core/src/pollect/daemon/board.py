"""Where writers look up how everything fares."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pollect.engine.plan import Plan
from pollect.model import Batch, SourceStatus, WriterStatus
from pollect.plugin import TargetGroup

if TYPE_CHECKING:
    from pollect.daemon.overview import Overview
    from pollect.daemon.probes import ProbeDesk
    from pollect.daemon.targets import TargetSet
    from pollect.engine.engine import Engine
    from pollect.status import SourceDetail, Status


class Board(msgspec.Struct):
    """What writers may ask of the daemon; empty until the engine is there."""

    engine: "Engine | None" = None
    plan: Plan | None = None
    overview: "Overview | None" = None
    probes: "ProbeDesk | None" = None
    targets: "TargetSet | None" = None

    def targets_of(self, writer: str) -> Sequence[TargetGroup] | None:
        """Return the targets of the inventories whose values a writer gets."""
        plan, targets = self.plan, self.targets
        if plan is None or targets is None:
            return None
        fed = {
            executor.name
            for executor in plan.executors
            if any(known.context.name == writer for known in executor.writers)
        }
        return targets.groups(fed)

    def sources_of(self, writer: str) -> list[SourceStatus]:
        """Return the state of the sources whose values a writer gets."""
        if self.engine is None or self.plan is None:
            return []
        fed = {
            source.id
            for executor in self.plan.executors
            if any(known.context.name == writer for known in executor.writers)
            for source in executor.sources
        }
        return [status for status in self.engine.source_statuses() if status.source in fed]

    def writers(self) -> list[WriterStatus]:
        """Return the state of all writers."""
        return self.engine.writer_statuses() if self.engine else []

    def status(self, writer: str) -> "Status | None":
        """Return everything a page shows of the sources of a writer."""
        return self.overview.status(writer) if self.overview else None

    def source_detail(self, writer: str, source: str) -> "SourceDetail | None":
        """Return everything about one source of a writer."""
        return self.overview.detail(source, writer) if self.overview else None

    def probe_now(self, writer: str, source: str) -> bool:
        """Probe one source of a writer; return whether there is one of this id."""
        return bool(self.overview and self.overview.probe_now(source, writer))

    def self_batches(self) -> list[Batch]:
        """Return the metrics of pollect itself."""
        return self.engine.self_batches() if self.engine else []
