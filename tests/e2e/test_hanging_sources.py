"""Sources that never return cost the others nothing."""

import re
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.e2e.command import scrape, start
from tests.simulators.daemons import free_port
from tests.tools.distributions import write_distribution

HANGING = 10

PLUGIN = """
import threading
from pollect.api import Source, SourceConfig, hookimpl

class HungSource(Source[SourceConfig]):
    "Never returns from a probe, not even when the daemon stops."
    def probe(self):
        threading.Event().wait()

@hookimpl
def pollect_sources():
    return [HungSource]
"""


def write_config(folder: Path, port: int) -> Path:
    hanging = "".join(
        f"      - {{type: Hung, name: hung{n}, timeout: 1}}\n" for n in range(HANGING)
    )
    file = folder / "config.yml"
    file.write_text(
        f"tickTime: 0.5\nwriter: {{type: Prometheus, port: {port}}}\n"
        f"executors:\n  - collection: house\n    threads: 3\n    sources:\n{hanging}"
        "      - {type: Dummy, name: good, value: 1}\n"
    )
    return file


def up(name: str, type_name: str) -> str:
    return f'pollect_source_up{{collection="house",name="{name}",type="{type_name}"}}'


def value_of(text: str, series: str) -> float:
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else -1.0


def test_ten_hanging_sources_leave_the_other_its_tick_and_the_daemon_its_end(
    tmp_path: Path,
) -> None:
    port = free_port()
    write_distribution(tmp_path / "site", "pollect-odd", modules={"odd.py": PLUGIN}, plugin="odd")
    probes = 'pollect_source_probes_total{collection="house",name="good",outcome="ok",type="Dummy"}'
    with start(
        "run",
        "-c",
        write_config(tmp_path, port),
        folder=tmp_path,
        environ={"PYTHONPATH": str(tmp_path / "site")},
    ) as daemon:
        daemon.wait_for("listening")

        def all_ten_are_down() -> bool:
            text = scrape(port)
            return all(value_of(text, up(f"hung{n}", "Hung")) == 0 for n in range(HANGING))

        wait_until(all_ten_are_down, "ten sources down")
        before = value_of(scrape(port), probes)
        wait_until(lambda: value_of(scrape(port), probes) >= before + 6, "six ticks of the other")
        assert value_of(scrape(port), up("good", "Dummy")) == 1

        assert daemon.stop() == 0, "it waits for none of them, which would take SIGKILL"
