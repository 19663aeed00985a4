"""One probe on its way, what a runner asks of its executor for it, and how a source fared."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pollect.engine.workers import WorkerCall
from pollect.model import Batch, ProbeResult

if TYPE_CHECKING:
    from pollect.delivery.routing import MergedTick
    from pollect.engine.renaming import Renaming
    from pollect.engine.runner import Runner


class ProbeRun(WorkerCall):
    """One probe on its way, from the queue to its end.

    It is the call that a worker thread makes; on the event loop, `started` is set there.
    """

    __slots__ = ("blocked", "created", "epoch", "missed", "over", "reported", "runner", "tick")

    def __init__(self, runner: "Runner", tick: "MergedTick", created: float, epoch: object) -> None:
        super().__init__(None, runner.key, suspect=runner.suspect)
        self.runner = runner
        self.tick = tick
        #: Monotonic seconds.
        self.created = created
        #: Who owned the source when the run was made, see `Ownership`.
        self.epoch = epoch
        #: It waited so long that its tick no longer waits for it.
        self.reported = False
        #: It ended or timed out: whatever still comes is too late.
        self.over = False
        #: Seconds of the deadline that it missed, until that is counted.
        self.missed: float | None = None
        #: In words what kept it from going on, if that is known.
        self.blocked = ""

    def run(self) -> None:
        self.runner.probe(self)


class Executing(Protocol):
    """What a runner asks of its executor. Only what says so runs code of plugins."""

    name: str

    def filtered(self, batch: Batch) -> Batch | None:
        """Return what the filters of plugins leave of a batch. Runs code of plugins."""

    def put(
        self,
        batch: Batch,
        tick: "MergedTick | None" = None,
        renaming: "Renaming | None" = None,
    ) -> None:
        """Hand a batch over to the writers, to be written by `settle`."""

    def record(self, batch: Batch) -> None:
        """Remember the values that the writers get."""

    def note(self, result: ProbeResult) -> None:
        """Remember how a probe ended, if its values do not tell."""

    def finished(self, runner: "Runner", result: ProbeResult | None) -> None:
        """Pass a result on; None for a source that another daemon probes.

        Called in the order of the results.
        """

    def settle(self) -> None:
        """Let the writers take what was put. Runs code of plugins."""

    def abandon(self, run: ProbeRun) -> None:
        """Stop waiting for a run."""

    def drop(self, run: ProbeRun) -> None:
        """Take note that a run ended whose result is no longer wanted."""

    def watch_freshness(self, until: float) -> None:
        """Look after values that are true until then, in monotonic seconds."""

    def again(self, runner: "Runner") -> None:
        """Probe once more, between two ticks."""

    def close(self, runner: "Runner") -> None:
        """Close the source, in this thread or on the event loop. Runs code of plugins."""

    def errand(self, call: Callable[[], None]) -> None:
        """Run something that takes its time in a thread of the engine."""

    def describe_wait(self, run: ProbeRun) -> str:
        """Return in words what a run waits for that has not begun yet."""

    def describe_block(self, run: ProbeRun) -> str:
        """Return in words what keeps the event loop of a run, empty if nothing does."""


class Rank(enum.Enum):
    """How a source fared at its last probe: those of one rank are likely to hang together."""

    QUICK = enum.auto()
    #: It works, but takes its time.
    SLOW = enum.auto()
    #: It was not probed yet.
    NEW = enum.auto()
    #: It took long, and brought nothing.
    HUNG = enum.auto()
