"""`metrics: {rename, scale}`, `dropLabels`, `renameLabels` and `maxSeries` of a real daemon."""

from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.e2e.command import scrape, start
from tests.simulators.daemons import free_port

DROPPED = "pollect_source_dropped_samples_total{"
CONFIG = """\
tickTime: 0.2
labels: {{dc: home, rack: r1}}
writer: {{type: Prometheus, port: {port}, bind: 127.0.0.1}}
executors:
  - collection: host
    sources:
      - type: LoadAvg
        metrics: {{rename: {{'': load}}, scale: {{'': 1000}}}}
        renameLabels: {{time: period, dc: site}}
        dropLabels: [rack]
        maxSeries: 2
"""


def test_names_labels_and_limit_of_a_config_are_what_is_scraped(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "config.yml"
    file.write_text(CONFIG.format(port=port))
    with start("run", "--strict", "-c", file, folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        wait_until(lambda: "dropped_samples_total" in scrape(port))
        text = scrape(port)
    lines = [line for line in text.splitlines() if line.startswith("host_LoadAvg")]
    assert sorted(line.partition(" ")[0] for line in lines) == [
        'host_LoadAvg_load{period="mid",site="home"}',
        'host_LoadAvg_load{period="short",site="home"}',
    ]
    [dropped] = [line for line in text.splitlines() if line.startswith(DROPPED)]
    assert 'type="LoadAvg"' in dropped
    assert float(dropped.rpartition(" ")[2]) >= 1
