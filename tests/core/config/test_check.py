"""The command that users ask, with the types that are installed."""

import os
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parent / "eight.yml"
MESSAGES = (
    # Only the writer itself refuses this one, and only once it is built.
    "6:35: writers[0].auth.users.admin: not a password hash: expected $scrypt$",
    "7:5: writers[1].type: unknown writer type 'Promtheus' (did you mean 'Prometheus'?)",
    "12:9: executors[0].sources[0].type: unknown source type 'LodAvg' (did you mean 'LoadAvg'?)",
    "16:9: executors[0].sources[1].tickTme: unknown option (did you mean 'tickTime'?)",
    "18:9: executors[0].sources[2].timeout: expected a number above 0, got 'soon'",
    "20:9: executors[0].sources[3].timeout: expected a number above 0, got -1",
    "22:9: executors[0].sources[4].name: variable GARAGE is not set "
    "(set it, or write ${GARAGE:-default})",
    "24:9: executors[0].sources[5].procRegex: required option missing (Regular expression",
)


def test_check_reports_every_kind_of_mistake_at_once_and_no_secret() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GARAGE"}
    result = subprocess.run(
        [sys.executable, "-m", "pollect", "check", str(CONFIG)],
        capture_output=True,
        text=True,
        env={**environ, "PASSWORD": "s3cret"},
        timeout=150,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    for line, message in zip(result.stderr.splitlines(), MESSAGES, strict=True):
        assert line.startswith(f"{CONFIG}:{message}")
    assert "geheim" not in result.stderr
    assert "s3cret" not in result.stderr
