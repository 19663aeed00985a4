"""Home sources at a 10 s tick, each before the peer of its contract: alone, and all at once.

The peers run in the process of the bench, so they cost the daemon nothing. A source alone is
compared with a daemon that has one source of the core: the difference is what its library costs.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.process import Daemon, daemon, free_port
from tests.bench.table import OURS, Row
from tests.contract.home_family import family

TICK_SECONDS = 10
#: Until libraries are imported and connections made.
WARM_UP_SECONDS = 12.0
CPU_SECONDS = 60.0
ALONE_SECONDS = 6.0
NOTHING: Mapping[str, Any] = {"type": "Dummy", "value": 1}


@contextmanager
def running(sections: Sequence[Mapping[str, Any]]) -> Iterator[Daemon]:
    """Run the daemon with these sources."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = {
            "tickTime": TICK_SECONDS,
            "writer": {"type": "Prometheus", "bind": "127.0.0.1", "port": port},
            "executors": [{"collection": "home", "sources": sections}],
        }
        file = Path(folder, "config.json")
        file.write_text(json.dumps(config))
        pollect = str(Path(sys.executable).with_name("pollect"))
        with daemon([pollect, "run", "-c", str(file)], port, cwd=Path(folder)) as measured:
            yield measured


def down(measured: Daemon) -> list[str]:
    """Return the sources that are not up."""
    lines = measured.get().decode().splitlines()
    return [
        line
        for line in lines
        if line.startswith("pollect_source_up{") and not line.endswith(" 1.0")
    ]


def run() -> list[Row]:
    """Measure every home source, and all of them."""
    with running([NOTHING]) as measured:
        measured.cpu_percent(ALONE_SECONDS)
        base = measured.resident_mb()
    alone = [Row("a daemon without any of them", "MB", {OURS: base})]
    with family() as sections:
        for section in sections:
            with running([NOTHING, section]) as measured:
                measured.cpu_percent(ALONE_SECONDS)
                notes = {OURS: " (down)"} if down(measured) else {}
                figures = {OURS: measured.resident_mb() - base}
                alone.append(Row(f"{section['type']} adds", "MB", figures, notes=notes))
        with running(sections) as measured:
            measured.cpu_percent(WARM_UP_SECONDS)
            cpu = measured.cpu_percent(CPU_SECONDS)
            away = down(measured)
            notes = {OURS: f" ({len(away)} down)"} if away else {}
            total = measured.resident_mb()
    return [
        Row(f"all {len(sections)} at once, resident memory", "MB", {OURS: total}, 80, notes),
        Row(f"all {len(sections)} at once, CPU", "% of a core", {OURS: cpu}),
        *alone,
    ]
