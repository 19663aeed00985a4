"""A writer whose address was changed: what it could not deliver is not forgotten silently."""

import signal
from pathlib import Path

from tests.e2e.command import start
from tests.simulators.daemons import free_port

CONFIG = """
tickTime: 0.1
stateDir: state
executors:
  - collection: house
    sources:
      - {{type: Dummy, value: 1}}
writers:
  - {{type: InfluxDb, url: "http://127.0.0.1:{port}", bucket: {bucket}, spool: true}}
"""


def test_spool_of_an_old_address_is_told_of_once(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    port = free_port()
    config.write_text(CONFIG.format(port=port, bucket="old"))
    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for("cannot deliver")
        assert "delivers to" not in daemon.output
        config.write_text(CONFIG.format(port=port, bucket="new"))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.wait_for("no writer with a spool delivers to")
        assert daemon.stop() == 0
    assert daemon.output.count("no writer with a spool delivers to") == 1
    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for("restore the old address to deliver them, or delete it")
        assert daemon.stop() == 0
        (line,) = (line for line in daemon.output.splitlines() if "restore the old" in line)
    (old,) = (file for file in (tmp_path / "state" / "spool").glob("*") if str(file) in line)
    assert f"{old} holds " in line
    assert " samples for a target" in line
