"""Sources that never return cost nobody else anything."""

import re
import time
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, scrape, start
from tests.simulators.daemons import free_port

HANGING = 10
FOREVER_SECONDS = 100_000


def write_config(folder: Path, port: int) -> Path:
    hanging = "".join(
        f"      - {{type: Dummy, name: hung{n}, value: 1, sleep: {FOREVER_SECONDS}, timeout: 1}}\n"
        for n in range(HANGING)
    )
    file = folder / "config.yml"
    file.write_text(
        f"tickTime: 0.5\nwriter: {{type: Prometheus, port: {port}}}\n"
        f"executors:\n  - collection: house\n    threads: 3\n    sources:\n{hanging}"
        "      - {type: Dummy, name: good, value: 1}\n"
    )
    return file


def value_of(text: str, series: str) -> float:
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else -1.0


def test_ten_hanging_sources_leave_the_other_its_tick_and_the_daemon_its_end(
    tmp_path: Path,
) -> None:
    port = free_port()
    labels = 'collection="house",type="Dummy",name="{}"'
    probes = f'pollect_source_probes_total{{{labels.format("good")},outcome="ok"}}'
    with start("run", "-c", write_config(tmp_path, port), folder=tmp_path) as daemon:
        daemon.wait_for("listening")

        def all_ten_are_down() -> bool:
            text = scrape(port)
            return all(
                value_of(text, f"pollect_source_up{{{labels.format(f'hung{n}')}}}") == 0
                for n in range(HANGING)
            )

        wait_until(all_ten_are_down, "ten sources down", limit_seconds=LIMIT_SECONDS)
        before, began = value_of(scrape(port), probes), time.monotonic()
        wait_until(lambda: value_of(scrape(port), probes) >= before + 6, "six ticks of the other")
        assert time.monotonic() - began < 6 * 0.5 + 1.5
        assert value_of(scrape(port), f"pollect_source_up{{{labels.format('good')}}}") == 1

        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 1
