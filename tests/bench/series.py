"""One source with many series at a 5 s tick: memory, CPU per sample, scrape."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from tests.bench.daemons import old, old_pollect, ours
from tests.bench.process import Daemon
from tests.bench.table import OLD, OURS, Row

TICK_SECONDS = 5
TICKS = 4

OURS_CONFIG = """\
tickTime: 5
writer:
  type: Prometheus
  port: {{port}}
executors:
  - collection: bench
    sources:
      - type: Dummy
        value: 1
        count: {count}
"""

OLD_CONFIG = """\
tickTime: 5
writer:
  type: Prometheus
  port: {{port}}
executors:
  - collection: bench
    sources:
      - type: extensions.Many
        count: {count}
"""

OLD_EXTENSION = """\
from pollect.core.ValueSet import Value, ValueSet
from pollect.sources.Source import Source


class ManySource(Source):
    def __init__(self, data):
        super().__init__(data)
        self.count = data.get("count")

    def _probe(self):
        values = ValueSet(["i"])
        for i in range(self.count):
            values.add(Value(float(i), label_values=[str(i)]))
        return values
"""

GOALS = {10_000: (0.6, None, None), 100_000: (1.7, 1.3, 60.0)}


def run() -> list[Row]:
    """Measure 10,000 and 100,000 series."""
    rows = []
    for count, (scrape_goal, cpu_goal, memory_goal) in GOALS.items():
        scrape: dict[str, float | None] = {}
        cpu: dict[str, float | None] = {}
        memory: dict[str, float | None] = {}
        starts: dict[str, Callable[[], AbstractContextManager[Daemon]]] = {
            OURS: partial(ours, OURS_CONFIG.format(count=count))
        }
        if old_pollect():
            starts[OLD] = partial(old, OLD_CONFIG.format(count=count), OLD_EXTENSION)
        for name, program in starts.items():
            with program() as running:
                running.cpu_percent(TICK_SECONDS)
                share = running.cpu_percent(TICKS * TICK_SECONDS) / 100
                cpu[name] = 1e6 * share * TICK_SECONDS / count
                scrape[name] = running.scrape_ms(times=10)
                memory[name] = running.resident_mb()
        label = f"{count:,} series"
        rows.append(Row(f"scrape of {label}", "ms", scrape, goal=scrape_goal))
        rows.append(Row(f"CPU per sample, {label}", "us", cpu, goal=cpu_goal))
        rows.append(Row(f"resident memory, {label}", "MB", memory, goal=memory_goal))
    return rows
