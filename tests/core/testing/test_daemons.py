"""Programs that tests run: what they printed is not lost when they do not start."""

import sys
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.simulators import daemons
from tests.simulators.daemons import free_port, run_daemon


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "import time; print('no such port', flush=True); time.sleep(60)",
            "waited 0.1 s in vain for its start",
        ),
        ("raise SystemExit('no such port')", "ended with 1"),
    ],
    ids=["hangs", "ends"],
)
def test_a_program_that_does_not_start_is_named_with_what_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    log = tmp_path / "daemon.log"

    def wait_shortly(ready, what: str, limit_seconds: float) -> None:
        wait_until(lambda: "no such port" in log.read_text(), limit_seconds=limit_seconds)
        wait_until(ready, what, limit_seconds=0.1)

    monkeypatch.setattr(daemons, "wait_until", wait_shortly)
    command = [sys.executable, "-c", program]
    with pytest.raises(AssertionError, match=rf"{reason}; it printed: no such port"):
        with run_daemon(command, tmp_path, free_port()):
            pytest.fail("it is not ready")
