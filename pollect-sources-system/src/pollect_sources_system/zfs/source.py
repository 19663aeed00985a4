"""Source `Zfs`: space, health and activity of ZFS pools.

Needs the program `zpool` (Debian: zfsutils-linux, in contrib); no privileges. One `zpool iostat`
runs between the probes while there are pools. Cost of a probe: one process; one more each with
`datasets` and `scrub`.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    MOMENT,
    YES_NO,
    Alert,
    BadResponse,
    Headline,
    Kind,
    Metric,
    NoData,
    Panel,
    Program,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.filters import NameFilter, Names
from pollect.support.process import (
    DEFAULT_TIMEOUT_SECONDS,
    Command,
    CommandOverride,
    Finished,
    program_timeout,
)
from pollect_sources_system.kernel import read_text
from pollect_sources_system.zfs.iostat import IostatReader
from pollect_sources_system.zfs.payload import (
    DATASET_COLUMNS,
    NO_POOLS,
    POOL_COLUMNS,
    Activity,
    Dataset,
    Errors,
    Pool,
    parse_arc,
    parse_datasets,
    parse_pools,
    parse_status,
)

ZPOOL = Program("zpool", "zfsutils-linux")
ZFS = Program("zfs", "zfsutils-linux")
#: zpool list, zfs list and zpool status, one after another.
PROGRAMS_PER_PROBE = 3
HEALTH_STATES = ("ONLINE", "DEGRADED", "FAULTED", "OFFLINE", "UNAVAIL", "REMOVED", "SUSPENDED")

CAPACITY = Metric(
    "capacity",
    help="Space of the pool in bytes, used or free.",
    unit="bytes",
    labels=("pool", "capacity"),
    headline=[Headline(kind, {"capacity": kind}) for kind in ("free", "used")],
    alert=Alert(
        "PoolFull",
        "less than a tenth of the pool is free: writing becomes slow",
        below=1 / 9,
        lasting_seconds=600,
        labels={"capacity": "free"},
        share_of={"capacity": "used"},
    ),
)
OPERATIONS = Metric(
    "operations_per_sec",
    help="Operations per second, averaged since the last probe.",
    unit="operations_per_second",
    labels=("pool", "io"),
)
BANDWIDTH = Metric(
    "bandwidth_per_sec",
    help="Bytes per second, averaged since the last probe.",
    unit="bytes_per_second",
    labels=("pool", "io"),
)
SIZE = Metric("size", help="Size of the pool in bytes.", unit="bytes", labels=("pool",))
FRAGMENTATION = Metric(
    "fragmentation_percent",
    help="How scattered the free space is, in percent.",
    unit="percent",
    labels=("pool",),
)
DEDUP = Metric(
    "dedup_ratio",
    help="How many times over the stored data would need its space without deduplication.",
    unit="ratio",
    labels=("pool",),
)
HEALTH = Metric(
    "health",
    help="1 for the state the pool is in, 0 for the others.",
    labels=("pool", "state"),
    alert=Alert("PoolNotOnline", "the pool lacks a disk", below=1, labels={"state": "ONLINE"}),
    headline=Headline("online", {"state": "ONLINE"}),
    panel=YES_NO,
)
_WITH_ARC = Panel(needs=("arc|details",))
#: By the names of the kernel's counters.
ARC = {
    "hits": Metric(
        "arc_hits", help="Reads that the cache answered.", kind=Kind.COUNTER, panel=_WITH_ARC
    ),
    "misses": Metric(
        "arc_misses", help="Reads that went to the disks.", kind=Kind.COUNTER, panel=_WITH_ARC
    ),
    "size": Metric("arc_size", help="Size of the cache in bytes.", unit="bytes", panel=_WITH_ARC),
    "c_max": Metric(
        "arc_max",
        help="Largest size the cache may have in bytes.",
        unit="bytes",
        panel=_WITH_ARC,
    ),
}

_WITH_DATASETS = Panel(needs=("datasets",))
DATASET_LABELS = ("dataset", "type")
DATASET_USED = Metric(
    "dataset_used",
    help="Bytes the dataset and all below it take.",
    unit="bytes",
    labels=DATASET_LABELS,
    panel=_WITH_DATASETS,
)
DATASET_AVAILABLE = Metric(
    "dataset_available",
    help="Bytes the dataset can still take.",
    unit="bytes",
    labels=DATASET_LABELS,
    panel=_WITH_DATASETS,
)
DATASET_REFERENCED = Metric(
    "dataset_referenced",
    help="Bytes of data one finds in the dataset.",
    unit="bytes",
    labels=DATASET_LABELS,
    panel=_WITH_DATASETS,
)
DATASET_QUOTA = Metric(
    "dataset_quota",
    help="Limit in bytes of what the dataset may take; 0 for none.",
    unit="bytes",
    labels=DATASET_LABELS,
    panel=_WITH_DATASETS,
)
ERRORS = Metric(
    "errors",
    help="Errors of the pool since they were cleared, by type.",
    kind=Kind.COUNTER,
    labels=("pool", "type"),
    alert=Alert("PoolErrors", "disks of the pool made errors that were not cleared yet", above=0),
    panel=Panel(needs=("scrub|details",)),
)
LAST_SCRUB = Metric(
    "last_scrub",
    help="When the last scrub ended, in seconds since 1970.",
    unit="seconds",
    labels=("pool",),
    panel=MOMENT.needing("scrub|details"),
)


class ZfsConfig(SourceConfig, frozen=True, kw_only=True):
    interval: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Seconds over which `zpool iostat` averages."),
    ] = 10
    pools: Annotated[
        Names, Meta(description="Pools to report, by name or shell pattern; default: all.")
    ] = None
    arc: Annotated[bool, Meta(description="Also report the cache (ARC).")] = False
    datasets: Annotated[
        Names, Meta(description="Also report these datasets, by name or shell pattern.")
    ] = None
    scrub: Annotated[
        bool, Meta(description="Also report errors and the time of the last scrub.")
    ] = False
    command: Annotated[
        CommandOverride, Meta(description="What to run instead of `zpool`, with its words.")
    ] = None


class ZfsSource(Source[ZfsConfig]):
    """Space, health, operations and bandwidth of each pool."""

    config_type = ZfsConfig
    metrics = (
        CAPACITY,
        OPERATIONS,
        BANDWIDTH,
        SIZE,
        FRAGMENTATION,
        DEDUP,
        HEALTH,
        *ARC.values(),
        DATASET_USED,
        DATASET_AVAILABLE,
        DATASET_REFERENCED,
        DATASET_QUOTA,
        ERRORS,
        LAST_SCRUB,
    )

    def __init__(self, config: ZfsConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._zpool = Command(ZPOOL, config.command, stopping=context.stopping)
        self._zfs = Command(ZFS, stopping=context.stopping)
        self._wanted = NameFilter(config.pools)
        self._datasets = NameFilter(config.datasets)
        self._iostat = IostatReader(self._zpool, config.interval, context.clock, self.log)
        self._program_timeout = program_timeout(self.deadline_seconds(), PROGRAMS_PER_PROBE)
        self._watched: set[str] = set()

    def deadline_seconds(self) -> float:
        enough = (PROGRAMS_PER_PROBE + 1) * DEFAULT_TIMEOUT_SECONDS
        return self.config.timeout or max(self.context.interval, enough)

    def open(self) -> None:
        self._zpool.require()
        if self.config.datasets:
            self._zfs.require()

    def close(self) -> None:
        self._iostat.stop()
        self._watched = set()

    def probe(self) -> Iterable[Sample]:
        listed = self._list("list", "-Hp", "-o", ",".join(POOL_COLUMNS)).stdout
        pools, problems = parse_pools(listed)
        if problems and not pools:
            raise BadResponse(problems[0])
        self.troubles.note("pools", problems)
        self._watch({pool.name for pool in pools})
        if not pools:
            raise NoData(NO_POOLS, withdraw=True)
        averages = self._iostat.take_averages()
        samples: list[Sample] = []
        for pool in pools:
            if self._wanted.accepts(pool.name):
                samples += pool_samples(pool)
                if pool.name in averages:
                    samples += activity_samples(pool.name, averages[pool.name])
        for part, is_wanted, read in (
            ("cache", self.config.arc or self.config.details, self._read_arc),
            ("datasets", bool(self.config.datasets), self._read_datasets),
            ("status", self.config.scrub or self.config.details, self._read_status),
        ):
            if is_wanted:
                try:
                    samples += read()
                    self.troubles.works(part)
                except (TargetUnavailable, BadResponse, OSError) as error:
                    self.troubles.failed(part, error)
        return samples

    def _watch(self, pools: set[str]) -> None:
        """See that `zpool iostat` runs if there are pools, and knows all of them.

        Without names on its command line a version before 2.0 only sees the pools of its start.
        """
        if pools != self._watched:
            self._iostat.stop()
            if pools:
                self._iostat.start()
            self._watched = pools

    def _list(self, *arguments: str) -> Finished:
        """Run `zpool`; that there is no pool is an error for some versions."""
        finished = self._zpool.run(*arguments, timeout=self._program_timeout, statuses=None)
        if finished.status and NO_POOLS not in finished.stdout + finished.stderr:
            reason = finished.first_error_line or "no message"
            raise TargetUnavailable(
                f"zpool {arguments[0]}: exit status {finished.status}: {reason}"
            )
        return finished

    def _read_arc(self) -> list[Sample]:
        file = self.context.roots.proc / "spl" / "kstat" / "zfs" / "arcstats"
        counters = parse_arc(read_text(file))
        return [ARC[name].sample(counters[name]) for name in ARC if name in counters]

    def _read_datasets(self) -> list[Sample]:
        columns = ",".join(DATASET_COLUMNS)
        arguments = ("list", "-Hp", "-t", "filesystem,volume", "-o", columns)
        listed = self._zfs.run(*arguments, timeout=self._program_timeout)
        datasets, problems = parse_datasets(listed.stdout)
        self.troubles.note("lines of datasets", problems)
        return [
            sample
            for dataset in datasets
            if self._datasets.accepts(dataset.name)
            for sample in dataset_samples(dataset)
        ]

    def _read_status(self) -> list[Sample]:
        pools, problems = parse_status(self._list("status", "-p").stdout)
        self.troubles.note("status of pools", problems)
        return [
            sample
            for errors in pools
            if self._wanted.accepts(errors.pool)
            for sample in error_samples(errors)
        ]


def pool_samples(pool: Pool) -> Iterable[Sample]:
    """Return space and health of one pool; what zpool does not know is left out."""
    known = (
        (CAPACITY, pool.allocated, (pool.name, "used")),
        (CAPACITY, pool.free, (pool.name, "free")),
        (SIZE, pool.size, (pool.name,)),
        (FRAGMENTATION, pool.fragmentation_percent, (pool.name,)),
        (DEDUP, pool.dedup_ratio, (pool.name,)),
    )
    for metric, value, labels in known:
        if value is not None:
            yield metric.sample(value, *labels)
    for state in dict.fromkeys((*HEALTH_STATES, pool.health)):
        yield HEALTH.sample(float(state == pool.health), pool.name, state)


def activity_samples(pool: str, activity: Activity) -> Iterable[Sample]:
    """Return what a pool did per second."""
    yield OPERATIONS.sample(activity.read_operations, pool, "read")
    yield OPERATIONS.sample(activity.write_operations, pool, "write")
    yield BANDWIDTH.sample(activity.read_bytes, pool, "read")
    yield BANDWIDTH.sample(activity.write_bytes, pool, "write")


def dataset_samples(dataset: Dataset) -> Iterable[Sample]:
    """Return the space of one dataset; a volume has no quota."""
    for metric, value in (
        (DATASET_USED, dataset.used),
        (DATASET_AVAILABLE, dataset.available),
        (DATASET_REFERENCED, dataset.referenced),
        (DATASET_QUOTA, dataset.quota),
    ):
        if value is not None:
            yield metric.sample(value, dataset.name, dataset.type)


def error_samples(errors: Errors) -> Iterable[Sample]:
    """Return the errors of one pool and when it was last scrubbed."""
    yield ERRORS.sample(errors.read, errors.pool, "read")
    yield ERRORS.sample(errors.write, errors.pool, "write")
    yield ERRORS.sample(errors.checksum, errors.pool, "cksum")
    if errors.last_scrub is not None:
        yield LAST_SCRUB.sample(errors.last_scrub, errors.pool)
