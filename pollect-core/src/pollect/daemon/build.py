"""From a config to a plan: builds every source and writer the engine is to run."""

import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pollect.config.config import (
    Config,
    DoubtfulSection,
    ExecutorSection,
    SourceSection,
)
from pollect.daemon.board import Board
from pollect.daemon.constructing import Construction, attempt, reporting_all, whole
from pollect.daemon.ports import Ports
from pollect.daemon.source_plan import plan_source
from pollect.daemon.writers import Writers
from pollect.discovery.registry import Registry
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.errors import ConfigError, InvalidConfig, describe
from pollect.model import Batch, SourceId
from pollect.plugin import (
    Clock,
    Source,
    SourceConfig,
    SourceContext,
    SourceSpec,
    Writer,
)
from pollect.plugin.taken import taken

if TYPE_CHECKING:
    from pollect.config.targets import Blueprint, TargetedSection
    from pollect.daemon.targets import Expansion, TargetSet

#: Like no target of an inventory.
STAND_IN_ID = "-"
#: Seconds between two probes of a source that is only judged.
DEFAULT_INTERVAL = 10.0

log = logging.getLogger(__name__)


def assemble(
    config: Config,
    registry: Registry,
    *,
    clock: Clock,
    stopping: threading.Event,
    previous: Plan | None = None,
    board: Board | None = None,
    targets: "TargetSet | None" = None,
    ports: Ports | None = None,
) -> Plan:
    """Build what the engine runs.

    Equal writer sections become one writer. What is equal in `previous` keeps its object, which
    then simply goes on. Sections with an inventory are repeated for the `targets` it has now; by
    default what its files say. Where something listens is noted in `ports`. Raises `InvalidConfig`
    with everything that sources and writers refuse, each at its place in the file.
    """
    board = board or Board()
    builder = _Builder(config, registry, clock, stopping, previous, board, targets, ports)
    executors = [builder.executor(section) for section in config.executors]
    builder.check_fleet()
    builder.check_probes()
    refused, warnings = builder.construction.refused, builder.construction.warnings
    if refused:
        raise InvalidConfig([*refused, *warnings], warnings=warnings)
    return Plan(
        executors=executors,
        tick_time=config.tick_time,
        self_metrics=config.self_metrics,
        fleet=_fleet_mode(config),
        history=config.history,
        shutdown_timeout=config.shutdown_timeout,
        filters=_filters(config, registry),
        warnings=warnings,
        stopping=stopping,
        ready=builder.ready,
    )


def _fleet_mode(config: Config) -> Literal["", "shard", "lease"]:
    if config.fleet is None:
        return ""
    return "shard" if config.fleet.shard is not None else "lease"


def find_targets(
    config: Config,
    previous: "TargetSet | None" = None,
    *,
    fetch: bool = False,
    quiet: bool = False,
) -> "TargetSet | None":
    """Return the inventories of a config; nothing of them is imported where there are none.

    With `fetch` those behind a URL are asked now; `quiet` logs nothing. Raises `InvalidConfig`.
    """
    if not any(executor.targeted for executor in config.executors):
        return None
    from pollect.daemon.targets import TargetSet

    targets = TargetSet(config, previous, quiet=quiet)
    if fetch:
        targets.fetch()
    return targets


def refusals_of_doubtful(
    config: Config, registry: Registry, *, clock: Clock, stopping: threading.Event, ports: Ports
) -> list[ConfigError]:
    """Return what is wrong with sections that cannot be used, beside what is known already.

    Where the sound ones listen is in `ports`.
    """
    builder = _Builder(config, registry, clock, stopping, None, Board(), None, ports)
    for section in config.doubtful:
        builder.judge(section)
    return builder.construction.refused


class _Builder:
    """Builds the parts of one plan."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        clock: Clock,
        stopping: threading.Event,
        previous: Plan | None,
        board: Board,
        targets: "TargetSet | None",
        ports: Ports | None,
    ) -> None:
        self.construction = Construction(config.file, ports)
        self.ready = previous.ready if previous else threading.Event()
        self._config = config
        # Asked for by every source, and each answer is a call of the system.
        self._directory, self._file = config.directory, config.file.absolute()
        self._registry = registry
        self._clock = clock
        self._stopping = stopping
        self._targets = targets
        executors = previous.executors if previous else ()
        self._old_sources = {plan.id: plan.source for part in executors for plan in part.sources}
        self._writers = Writers(
            config,
            self.construction,
            _unique(writer for part in executors for writer in part.writers),
            board,
            clock=clock,
            stopping=stopping,
            ready=self.ready,
        )
        self._ids: Counter[SourceId] = Counter()

    def check_fleet(self) -> None:
        """Refuse a fleet that cannot be taken part in."""
        options = self._config.fleet
        if options is not None:
            from pollect.daemon.fleet import build_fleet

            self.construction.built(
                lambda: build_fleet(options, self._config.directory), "", "fleet"
            )

    def check_probes(self) -> None:
        """Refuse modules whose source takes no target at all."""
        for section in self._config.probes:
            identity = SourceId(section.options.collection, section.blueprint.type)
            self._check_example(section.blueprint, section.example, identity, DEFAULT_INTERVAL)

    def executor(self, section: ExecutorSection) -> ExecutorPlan:
        sources = [self._source(section, part) for part in section.sources if part.config.enabled]
        for targeted in section.targeted:
            if targeted.enabled:
                sources += self._of_targets(section, targeted)
        writers = (self._writers.writer(part) for part in section.writers)
        return ExecutorPlan(
            name=section.collection,
            sources=[source for source in sources if source is not None],
            writers=_unique(writer for writer in writers if writer is not None),
            threads=section.threads,
            spread=section.spread,
        )

    def _source(self, executor: ExecutorSection, section: SourceSection) -> SourcePlan | None:
        context = self._context(executor, section.config)
        source: Source[Any] | None = self._old_source(section, context)
        if source is None:
            source = self.construction.constructed(
                lambda tried: section.source_type(tried, context), section.path, section.config
            )
        if source is None:
            return None
        self.construction.note_ports(source, section.path)
        self.construction.warn(source, section.path)
        return self._source_plan(executor, section, source)

    def _of_targets(
        self, executor: ExecutorSection, section: "TargetedSection"
    ) -> Iterator[SourcePlan]:
        """Yield the sources of one section, one for each target of its inventory.

        A target that its source refuses costs itself. What no target can mend is refused once.
        """
        expansion = self._expansions.get(section.path)
        if expansion is None:
            return
        identity = SourceId(executor.collection, section.type, target=STAND_IN_ID)
        interval = executor.tick_time
        if not self._check_example(section.blueprint, section.example, identity, interval):
            return
        for target, made, entry in expansion.sections():
            context = self._context(executor, made.config, target)
            source: Source[Any] | None = self._old_source(made, context)
            problems: Sequence[ConfigError] = ()
            if source is None:
                new = functools.partial(whole(made.source_type), made.config, context)
                source, problems = attempt(new, section.type)
            if source is None:
                expansion.reject(entry, problems)
            else:
                yield self._source_plan(executor, made, source)

    def _check_example(
        self,
        blueprint: "Blueprint",
        example: SourceConfig | None,
        identity: SourceId,
        interval: float,
    ) -> bool:
        """Refuse a section whose source takes no target at all; return whether it is right."""
        if example is None:
            return True
        context = self._source_context(identity, example, interval)
        source_type = blueprint.source_type
        build = reporting_all(whole(lambda tried: source_type(tried, context)), example)
        source, problems = attempt(build, blueprint.type)
        if source is not None:
            self.construction.warn(source, blueprint.path)
        static = [each for each in problems if not blueprint.depends_on_target(each.key)]
        if static:
            self.construction.refuse(blueprint.path, static)
        return not static

    @functools.cached_property
    def _expansions(self) -> "Mapping[str, Expansion]":
        from pollect.daemon.targets import TargetSet

        try:
            targets = TargetSet(self._config) if self._targets is None else self._targets
        except InvalidConfig as error:
            self.construction.refuse("", error.problems)
            return {}
        return targets.expansions

    def _context(
        self, executor: ExecutorSection, config: SourceConfig, target: str = ""
    ) -> SourceContext:
        identity = SourceId(executor.collection, config.type, config.name, target=target)
        self._ids[identity] += 1
        identity = identity._replace(instance=self._ids[identity] - 1)
        return self._source_context(identity, config, executor.tick_time)

    def judge(self, section: DoubtfulSection) -> None:
        """Note what the constructor refuses of a section whose other mistakes are known."""
        config = section.config
        plugin_type: Callable[..., object] = section.plugin_type

        def build(tried: Any) -> object:
            if isinstance(config, SourceConfig):
                identity = SourceId("", config.type, config.name)
                return plugin_type(tried, self._source_context(identity, config, DEFAULT_INTERVAL))
            return plugin_type(tried, self._writers.context(config.type))

        put_back = section.wrong
        try:
            rest = build(config)
        except ConfigError as error:
            from pollect.daemon.refusals import all_refusals

            problems, rest, put_back = all_refusals(build, config, error, section.wrong)
            self.construction.refuse(section.path, problems)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - code of a plugin, without options it may need
            return
        self.construction.note_ports_of_rest(rest, section.path, put_back)

    def _source_context(
        self, identity: SourceId, config: SourceConfig, interval: float
    ) -> SourceContext:
        return SourceContext(
            id=identity,
            interval=config.tick_time or interval,
            clock=self._clock,
            config_dir=self._directory,
            state_dir=self._config.state_dir,
            config_file=self._file,
            roots=self._config.roots,
            stopping=self._stopping,
        )

    def _old_source(self, section: SourceSection, context: SourceContext) -> Source[Any] | None:
        """Return the source that goes on, None if there is none with this section."""
        old = self._old_sources.get(context.id)
        return old if old is not None and _is_same(old, section, context) else None

    def _source_plan(
        self, executor: ExecutorSection, section: SourceSection, source: Source[Any]
    ) -> SourcePlan:
        config = section.config
        keep_stale, spec = config.keep_stale, self._spec(config.type)
        return plan_source(
            source,
            config,
            interval=config.tick_time or executor.tick_time,
            labels={**self._config.labels, **executor.labels},
            keep_stale=self._config.keep_stale if keep_stale is None else keep_stale,
            fleet=spec.fleet if config.fleet is None else config.fleet,
            exclusive=spec.exclusive if config.exclusive is None else config.exclusive,
            path=section.path,
        )

    def _spec(self, type_name: str) -> SourceSpec:
        """Return what the plugin says of a source; an extension beside the config says nothing."""
        entry = self._registry.known("source", type_name)
        spec = entry.spec if entry is not None else None
        return spec if isinstance(spec, SourceSpec) else SourceSpec(type_name, "")


def _is_same(source: Source[Any], section: SourceSection, context: SourceContext) -> bool:
    return (
        type(source) is section.source_type
        and source.config == section.config
        and source.context == context
    )


def _unique(writers: Iterator[Writer[Any]]) -> list[Writer[Any]]:
    return list({id(writer): writer for writer in writers}.values())


def _filters(config: Config, registry: Registry) -> Sequence[Callable[[Batch], Batch | None]]:
    filters: list[Callable[[Batch], Batch | None]] = []
    for plugin, implementation in registry.plugins.implementations(
        "pollect_batch_filters", config=config.data
    ):
        try:
            filters += taken(implementation())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            log.error(
                "%s: its batch filters are left out: %s", plugin.distribution, describe(error)
            )
    return filters
