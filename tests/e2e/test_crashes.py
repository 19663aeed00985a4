"""Kills of the daemon at random moments: with a spool, what it took over arrives."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.e2e.command import start
from tests.writers.backends import InfluxBackend

#: Counts on over restarts; what a probe returned last may die on its way to the outbox.
COUNTING_SOURCE = """
from pathlib import Path
from pollect.api import Metric, Source, SourceConfig

NUMBER = Metric("number", help="Number of the probe.")

class CountingSource(Source[SourceConfig]):
    metrics = (NUMBER,)

    def probe(self):
        file = self.context.config_dir / "counter"
        number = int(file.read_text()) + 1 if file.exists() else 0
        file.with_suffix(".new").write_text(str(number))
        file.with_suffix(".new").replace(file)
        return [NUMBER.sample(number)]
"""

CONFIG = """
tickTime: 0.02
stateDir: state
selfMetrics: false
writers:
  - {writer}
executors:
  - collection: crash
    sources:
      - type: extensions.Counting
"""

RUNS = 6
SEED = 7


def test_daemon_that_is_killed_again_and_again_delivers_what_it_took_over(tmp_path: Path) -> None:
    backend = InfluxBackend(tmp_path)
    section = {"type": "InfluxDb", "spool": "true", **backend.section}
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "Counting.py").write_text(COUNTING_SOURCE)
    config = tmp_path / "config.yml"
    options = ", ".join(f"{key}: {value}" for key, value in section.items())
    config.write_text(CONFIG.format(writer="{" + options + "}"))
    counter = tmp_path / "counter"
    generator = random.Random(SEED)
    last_of_run: set[int] = set()
    for run in range(RUNS):
        if run in (2, 5):
            backend.come_up()
        elif run == 4:
            backend.go_down()
        before = int(counter.read_text()) if counter.exists() else -1
        with start("run", "-c", config, folder=tmp_path) as daemon:
            until = before + generator.randint(5, 40)
            while not counter.exists() or int(counter.read_text()) < until:
                assert daemon.process.poll() is None, daemon.output
                time.sleep(0.005)
            if run < RUNS - 1:
                daemon.send(signal.SIGKILL)
                daemon.process.wait()
            else:
                assert daemon.stop() == 0
        last_of_run.add(int(counter.read_text()))
    backend.close()
    arrived = Counter(backend.arrived())
    missing = set(range(int(counter.read_text()) + 1)) - set(arrived)
    assert missing <= last_of_run, "only what was not handed over yet may be missing"
    repeated = [number for number, times in arrived.items() if times > 1]
    assert len(repeated) <= RUNS * 5, "only what was on its way at a kill comes twice"
