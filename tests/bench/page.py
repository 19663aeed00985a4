"""What the page and its history cost: a daemon with them beside one without."""

import time
import urllib.request
from collections.abc import Sequence

from tests.bench.daemons import ours
from tests.bench.lateness import lateness
from tests.bench.process import Daemon
from tests.bench.table import OURS, Row

#: At a tenth of a second the ring of an hour is full after 36 s; a tick of 10 s costs a hundredth.
TICK_SECONDS = 0.1
PLAIN_TICK_SECONDS = 10.0
WARM_UP_SECONDS = 45.0
CPU_SECONDS = 20.0
SERIES = 165
SCRAPES = 100
SOURCES = 300

CONFIG = """\
tickTime: %s
history: %d
writer: {{type: Prometheus, port: {port}, page: %s}}
executors:
  - collection: bench
    sources:
      - {{type: Dummy, count: %d}}
"""
WITHOUT = "without"


def run() -> Sequence[Row]:
    memory: dict[str, float] = {}
    cpu: dict[str, float] = {}
    scrape: dict[str, float | None] = {}
    late: dict[str, float | None] = {}
    for name, history in ((OURS, 2000), (WITHOUT, 0)):
        with ours(CONFIG % (TICK_SECONDS, history, str(history > 0).lower(), SERIES)) as daemon:
            time.sleep(WARM_UP_SECONDS)
            if history:
                _look(daemon, "/")
            cpu[name] = daemon.cpu_percent(CPU_SECONDS) * TICK_SECONDS / PLAIN_TICK_SECONDS
            memory[name] = daemon.resident_mb()
            scrape[name] = daemon.scrape_ms(SCRAPES)
        late[name], _ = lateness(0, history=history)
    page, size = _many()
    return [
        Row(
            f"more memory with {SERIES} series, an hour full, page seen",
            "MB",
            {OURS: memory[OURS] - memory[WITHOUT]},
            goal=1,
        ),
        Row(
            f"more CPU at a {PLAIN_TICK_SECONDS:g} s tick",
            "% of a core",
            {OURS: cpu[OURS] - cpu[WITHOUT]},
            goal=0.02,
        ),
        Row("scrape", "ms", scrape),
        Row("start lateness p99, 1,000 sources", "ms", late),
        Row(f"page of {SOURCES} sources, to its last byte", "ms", {OURS: page}, goal=100),
        Row(f"page of {SOURCES} sources", "kB", {OURS: size}),
    ]


def _many() -> tuple[float, float]:
    """Return the milliseconds until the page of many sources is there, and its kilobytes."""
    dummies = (f"{{{{type: Dummy, name: n{n}, count: 3}}}}" for n in range(SOURCES))
    sources = "".join(f"      - {dummy}\n" for dummy in dummies)
    head, _, _ = CONFIG.partition("      - ")
    with ours(head % (1, 2000, "true") + sources) as daemon:
        time.sleep(WARM_UP_SECONDS)
        took = []
        for _ in range(7):
            began = time.perf_counter()
            page = _look(daemon, "/")
            took.append(1000 * (time.perf_counter() - began))
        return sorted(took)[3], len(page) / 1000


def _look(daemon: Daemon, path: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.port}{path}", headers={"Accept": "text/html"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        text: bytes = answer.read()
        return text
