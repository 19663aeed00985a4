"""`Source`, the base of everything that reads."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeAlias, TypeVar

from pollect.errors import ConfigError
from pollect.model import Metric, Sample, log_of
from pollect.plugin.config import SourceConfig
from pollect.plugin.context import SourceContext
from pollect.plugin.given import Given
from pollect.plugin.sign_in import SignIn
from pollect.troubles import Troubles

#: What a probe may return: samples, value names with their numbers, one number, or nothing.
ProbeValue: TypeAlias = Iterable[Sample] | Mapping[str, float] | float | None

SourceConfigT = TypeVar("SourceConfigT", bound=SourceConfig)


class Source(Generic[SourceConfigT]):
    """Reads one thing at an interval.

    The engine calls `open()` once before the first probe and again, with growing pauses, while it
    raises; then `probe()` at every tick, never twice at once; then `close()`. All may run in any
    thread, one at a time; only when the daemon stops does `close()` not wait for a probe that
    hangs. If `probe` is a coroutine function, `open` and `close` may be too; sources of
    one type then share an event loop.
    """

    #: The model of this source's section in the config.
    config_type: ClassVar[type[SourceConfig]] = SourceConfig
    #: Every metric the source may emit.
    metrics: ClassVar[tuple[Metric, ...]] = ()
    #: The device or the config decides on the names: `metrics` lists only what is always there.
    dynamic_metrics: ClassVar[bool] = False
    #: The option that takes the target where a section is repeated for those of an inventory
    #: (`targets`) or is asked to probe one; empty where none does.
    target_option: ClassVar[str] = ""
    #: What to put before a target that has no scheme, as in `http://`.
    target_prefix: ClassVar[str] = ""
    #: Seconds a value stays true without a new probe that works; None means 2.5 intervals. For
    #: sources whose device only speaks up when something changes.
    hold: ClassVar[float | None] = None
    #: Seconds until another try after the first, second, ... failed probe in a row, the last one
    #: repeated; each counts only if the next tick is later. `ProbeError.retry_in` goes first.
    retry_after: ClassVar[Sequence[float]] = ()

    if not TYPE_CHECKING:
        config = Given(SourceConfig)
        context = Given(SourceContext)

    def __init__(self, config: SourceConfigT, context: SourceContext) -> None:
        """Validate `config`; no I/O here. Raises `ConfigError` with the `key` in question."""
        self.config = config
        self.context = context
        self.log = log_of(context.id)
        #: Which parts of what the source checks fail now: part of the result of every probe.
        self.troubles = Troubles(self.log)
        #: What the source runs with although a part of it cannot work: `check` prints it as a
        #: warning. For options whose values earlier versions accepted; everything else is raised.
        self.config_warnings: list[ConfigError] = []

    def expected_metrics(self) -> Sequence[Metric] | None:
        """Return all metrics that this config can lead to, None for those of the class.

        Dashboards and alert rules are made of them. For sources whose config decides on names or
        labels; what an option switches off may also be said by `Panel.needs`.
        """
        return None

    def listens_on(self) -> Sequence[tuple[str, int]]:
        """Return the TCP addresses and ports it opens, so that `check` finds two with the same.

        An empty address stands for all of them; a port of 0 is one that the system chooses.
        """
        return ()

    def open(self) -> Awaitable[None] | None:
        """Connect, and import the library that talks to the device.

        Raises `ProbeError` when the device is away (it is tried again later) and
        `MissingDependency` when the library is not installed.
        """
        return None

    def take_over(self, previous: Self) -> None:
        """Keep what a reload of the config should not lose, such as values that were pushed.

        Called before the first `open()`, in its thread, with the closed source that had the same
        collection, type and name and another section.
        """
        return None

    def probe(self) -> ProbeValue | Awaitable[ProbeValue]:
        """Return the values of now.

        Raises `NoData` when there is nothing to report and that is normal, and `ProbeError` when
        the device could not be read. Returning None or nothing at all is `NoData` as well.
        """
        raise NotImplementedError

    def close(self) -> Awaitable[None] | None:
        """Let go of everything; called once or more often, also after a failed `open()`."""
        return None

    def sign_in(self, dialogue: SignIn) -> Awaitable[None] | None:
        """Obtain and keep what the source needs to be let in, with the operator's help.

        Called by `pollect auth` only, on a source that was not opened; `close()` follows. Keep
        the token with `pollect.support.tokens`, then use it and show what was found, so that the
        operator sees that it works. Raises `ProbeError` when it does not. A source that does not
        override this needs no sign-in.
        """
        raise NotImplementedError

    def deadline_seconds(self) -> float:
        """Return how long a probe may take before it counts as timed out.

        The `timeout` of the config, else the larger of the interval and 10 seconds. A source that
        uses `timeout` for its own requests leaves itself room here to report the failure.
        """
        return self.config.timeout or max(self.context.interval, 10.0)
