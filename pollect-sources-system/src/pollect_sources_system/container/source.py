"""Source `Container`: CPU, memory and I/O of Docker, Podman and containerd containers.

Read from the kernel's cgroups, so no daemon is asked and no socket opened. Any user may read them;
the names are in files of the runtimes that only root may read. Cost of a probe: a walk through the
folders of `/sys/fs/cgroup` and some small files per container.

The figures are defined as cAdvisor's: `memory_working_set_bytes` leaves out file cache that was
not used lately, and is what Kubernetes compares with the limit.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    FilePath,
    Headline,
    Kind,
    Metric,
    NoData,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.filters import NameFilter, Names
from pollect.support.rates import Rates
from pollect_sources_system.container.cgroups import (
    BlockDevices,
    Found,
    Usage,
    find_containers,
    read_usage,
)
from pollect_sources_system.container.names import SHORT_ID, ContainerNames, Known
from pollect_sources_system.kernel import place_of

LABELS = ("container", "runtime")


def _counter(name: str, help: str, unit: str) -> Metric:
    return Metric(name, help=help, unit=unit, kind=Kind.COUNTER, labels=LABELS)


def _gauge(name: str, help: str, unit: str, headline: Headline | bool = False) -> Metric:
    return Metric(name, help=help, unit=unit, labels=LABELS, headline=headline)


CPU_SECONDS = _counter("cpu_seconds_total", "Seconds of CPU time taken.", "seconds")
CPU_RATIO = _gauge(
    "cpu_ratio",
    "CPU time taken per second since the last probe; 1 is one CPU.",
    "ratio",
    headline=Headline("CPU"),
)
MEMORY = _gauge("memory_bytes", "Memory in bytes, file cache included.", "bytes")
WORKING_SET = _gauge(
    "memory_working_set_bytes",
    "Memory in bytes without file cache that was not used lately.",
    "bytes",
    headline=Headline("memory"),
)
MEMORY_LIMIT = _gauge(
    "memory_limit_bytes", "Memory limit in bytes; absent when there is none.", "bytes"
)
READ_BYTES = _counter("read_bytes_total", "Bytes read from block devices.", "bytes")
WRITTEN_BYTES = _counter("written_bytes_total", "Bytes written to block devices.", "bytes")
READS = _counter("reads_total", "Reads from block devices.", "operations")
WRITES = _counter("writes_total", "Writes to block devices.", "operations")
READ_RATE = _gauge(
    "read_bytes_per_second", "Bytes read from block devices per second.", "bytes_per_second"
)
WRITE_RATE = _gauge(
    "written_bytes_per_second", "Bytes written to block devices per second.", "bytes_per_second"
)
TASKS = _gauge("tasks", "Processes and threads.", "tasks")


class ContainerConfig(SourceConfig, frozen=True, kw_only=True):
    include: Annotated[
        Names, Meta(description="Containers to report, by name or shell pattern; default: all.")
    ] = None
    exclude: Annotated[
        Names, Meta(description="Containers to leave out, by name or shell pattern.")
    ] = None
    docker_dir: Annotated[FilePath, Meta(description="Folder of Docker, for names.")] = (
        "/var/lib/docker"
    )
    podman_dir: Annotated[
        FilePath,
        Meta(
            description="Storage folder of Podman, for names; a user's is "
            "`~/.local/share/containers/storage`."
        ),
    ] = "/var/lib/containers/storage"
    containerd_dir: Annotated[
        FilePath, Meta(description="Folder of containerd's running tasks, for names.")
    ] = "/run/containerd/io.containerd.runtime.v2.task"


class ContainerSource(Source[ContainerConfig]):
    """CPU, memory, I/O and tasks of every running container."""

    config_type = ContainerConfig
    metrics = (
        CPU_SECONDS,
        CPU_RATIO,
        MEMORY,
        WORKING_SET,
        MEMORY_LIMIT,
        READ_BYTES,
        WRITTEN_BYTES,
        READS,
        WRITES,
        READ_RATE,
        WRITE_RATE,
        TASKS,
    )

    def __init__(self, config: ContainerConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._root = context.roots.sys / "fs" / "cgroup"
        self._filter = NameFilter(config.include, config.exclude)
        folders = (config.docker_dir, config.podman_dir, config.containerd_dir)
        self._names = ContainerNames(*(place_of(context, folder) for folder in folders))
        self._cpu: Rates[str] = Rates()
        self._io: Rates[str] = Rates()
        #: What each container is and what it is called here, by id.
        self._labels: dict[str, tuple[Known, str]] = {}

    def probe(self) -> Iterable[Sample]:
        try:
            found = {container.id: container for container in find_containers(self._root)}
        except OSError as error:
            raise TargetUnavailable(f"cannot read the cgroups: {error}") from error
        if not found:
            raise NoData("no container runs", withdraw=True)
        devices = BlockDevices(self.context.roots.sys)
        samples: list[Sample] = []
        parts: set[str] = set()
        for labels, container in self._label(found).items():
            problems: list[str] = []
            usage = read_usage(self._root, container, devices, problems)
            samples += self._samples(container.id, labels, usage)
            name = labels[0]
            parts.add(name)
            self.troubles.note(name, problems)
        self.troubles.keep(parts)
        self._cpu.keep(found)
        self._io.keep(found)
        return samples

    def _label(self, found: dict[str, Found]) -> dict[tuple[str, str], Found]:
        """Return the containers that the config wants, by their labels.

        Of two with one name, as the tries of a Kubernetes job, the later gets its id added and
        keeps it.
        """
        names = self._names.find(found)
        self._labels = {
            id: (known, name)
            for id, (known, name) in self._labels.items()
            if names.get(id) == known
        }
        taken = {(name, known.runtime) for known, name in self._labels.values()}
        for id, known in sorted(names.items()):
            if id in self._labels or not self._filter.accepts(known.name):
                continue
            candidates = (known.name, f"{known.name}-{id[:SHORT_ID]}", f"{known.name}-{id}")
            name = next(each for each in candidates if (each, known.runtime) not in taken)
            self._labels[id] = known, name
            taken.add((name, known.runtime))
        return {
            (name, known.runtime): found[id] for id, (known, name) in sorted(self._labels.items())
        }

    def _samples(self, id: str, labels: tuple[str, str], usage: Usage) -> Iterable[Sample]:
        now = self.context.clock.monotonic()
        for metric, value in (
            (CPU_SECONDS, usage.cpu_seconds),
            (MEMORY, usage.memory_bytes),
            (WORKING_SET, usage.working_set_bytes),
            (MEMORY_LIMIT, usage.memory_limit_bytes),
            (READ_BYTES, usage.read_bytes),
            (WRITTEN_BYTES, usage.written_bytes),
            (READS, usage.reads),
            (WRITES, usage.writes),
            (TASKS, usage.tasks),
        ):
            if value is not None:
                yield metric.sample(value, *labels)
        if usage.cpu_seconds is not None:
            for rate in self._cpu.update(id, now, (usage.cpu_seconds,)) or ():
                yield CPU_RATIO.sample(rate, *labels)
        if usage.read_bytes is not None and usage.written_bytes is not None:
            rates = self._io.update(id, now, (usage.read_bytes, usage.written_bytes))
            for metric, rate in zip((READ_RATE, WRITE_RATE), rates or (), strict=False):
                yield metric.sample(rate, *labels)
