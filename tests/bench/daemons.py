"""The whole daemon at a 1 s tick with six sources, beside 1.x and other collectors."""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.bench.process import Daemon, daemon, free_port
from tests.bench.table import OLD, OURS, Row

CPU_SECONDS = 20.0
STARTS = 5
#: Daemons whose median counts: where the kernel puts their memory alone makes 1 % of it.
DAEMONS = 3
#: A start has settled after that: 5 s after it there is one long garbage collection.
WARM_UP_SECONDS = 8.0

CONFIG = """\
tickTime: 1
writer:
  type: Prometheus
  port: {port}
executors:
  - collection: pollect
    sources:
      - type: LoadAvg
      - type: MemoryUsage
      - type: DiskUsage
        disks: ["/"]
      - type: Interface
        includeTotal: true
      - type: IO
      - type: Process
        name: python
        procRegex: python
"""

COLLECTD = """\
Interval 1
BaseDir "{folder}"
PIDFile "{folder}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin load
LoadPlugin memory
LoadPlugin df
LoadPlugin interface
LoadPlugin disk
LoadPlugin processes
LoadPlugin write_prometheus
<Plugin write_prometheus>
  Port "{port}"
</Plugin>
"""

Start = Callable[[], AbstractContextManager[Daemon]]


def old_pollect() -> Path | None:
    """Return the Python that has pollect 1.x, None if `make bench` did not install it."""
    python = Path(".bench/1x/bin/python").absolute()
    return python if python.exists() else None


@contextmanager
def ours(config: str = CONFIG) -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        file = Path(folder, "config.yml")
        file.write_text(config.format(port=port))
        pollect = str(Path(sys.executable).with_name("pollect"))
        # A spool that another daemon of this user left would be looked into.
        state = {"STATE_DIRECTORY": folder}
        with daemon([pollect, "run", "-c", str(file)], port, env=state) as running:
            yield running


@contextmanager
def old(config: str = CONFIG, extensions: str = "") -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        Path(folder, "config.yml").write_text(config.format(port=port))
        if extensions:
            Path(folder, "extensions").mkdir()
            Path(folder, "extensions", "ManySource.py").write_text(extensions)
        command = [str(old_pollect()), "-m", "pollect.Pollect", "--config", "config.yml"]
        with daemon(command, port, cwd=Path(folder), env={"PYTHONPATH": folder}) as running:
            yield running


@contextmanager
def collectd() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        file = Path(folder, "collectd.conf")
        file.write_text(COLLECTD.format(port=port, folder=folder))
        with daemon(["/usr/sbin/collectd", "-f", "-C", str(file)], port) as running:
            yield running


@contextmanager
def node_exporter() -> Iterator[Daemon]:
    port = free_port()
    with daemon(
        ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"], port
    ) as running:
        yield running


def programs() -> dict[str, Start]:
    """Return what can be measured here."""
    found: dict[str, Start] = {OURS: ours}
    if old_pollect():
        found[OLD] = old
    if Path("/usr/sbin/collectd").exists():
        found["collectd"] = collectd
    if shutil.which("prometheus-node-exporter"):
        found["node_exporter"] = node_exporter
    return found


def run() -> list[Row]:
    """Measure every program that is there."""
    memory: dict[str, float | None] = {}
    cpu: dict[str, float | None] = {}
    start: dict[str, float | None] = {}
    scrape: dict[str, float | None] = {}
    stop: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for name, program in programs().items():
        try:
            firsts = []
            for _ in range(STARTS):
                with program() as running:
                    firsts.append(running.first_answer_seconds)
                    if name == OURS and b"pollect_LoadAvg{" not in running.first_answer:
                        notes[name] = " (empty!)"
            start[name] = statistics.median(firsts)
            measured = [_measure(program) for _ in range(DAEMONS)]
            medians = map(statistics.median, zip(*measured, strict=True))
            cpu[name], scrape[name], memory[name], stop[name] = medians
        except RuntimeError as error:
            print(f"not measured: {error}", file=sys.stderr)
    return [
        Row("resident memory", "MB", memory, goal=21),
        Row("CPU at 1 s tick", "% of a core", cpu, goal=0.3),
        Row("start to first answer", "s", start, goal=0.15, notes=notes),
        Row("scrape", "ms", scrape, goal=0.4),
        Row("SIGTERM to exit", "s", stop, goal=0.1),
    ]


def _measure(program: Start) -> tuple[float, float, float, float]:
    """Return CPU in percent, a scrape in ms, memory in MB and the stop in seconds."""
    with program() as running:
        running.cpu_percent(WARM_UP_SECONDS)
        return (
            running.cpu_percent(CPU_SECONDS),
            running.scrape_ms(),
            running.resident_mb(),
            running.stop_seconds(),
        )
