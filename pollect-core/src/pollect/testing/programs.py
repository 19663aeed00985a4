"""Stand-ins for external programs: small scripts that are found on the PATH instead.

with stand_in("smartctl", stdout=recorded, exit_code=4) as smartctl:
    source.probe()
assert smartctl.calls == [["--json", "/dev/sda"]]
"""

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_RECORD = 'for argument in "$@"; do printf "%s\\0" "$argument"; done >>{calls}; echo >>{calls}'


@dataclass(frozen=True)
class StandIn:
    """A program that a test put on the PATH."""

    path: Path

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every call so far."""
        record = _record_of(self.path)
        if not record.exists():
            return []
        lines = record.read_text().split("\n")[:-1]
        return [line.split("\0")[:-1] for line in lines]


@contextmanager
def stand_in(
    name: str,
    *,
    stdout: str | bytes = "",
    stderr: str = "",
    exit_code: int = 0,
    hangs: bool = False,
    script: str = "",
) -> Iterator[StandIn]:
    """Put a program `name` first on the PATH for as long as the block lasts.

    It records its arguments, prints `stdout` and `stderr` and ends with `exit_code`; with `hangs`
    it prints and then never ends. `script` is shell code that runs before that, for a program whose
    answer depends on its arguments.
    """
    with tempfile.TemporaryDirectory(prefix="stand-in-") as folder:
        program = Path(folder, name)
        output = Path(folder, f"{name}.stdout")
        output.write_bytes(stdout if isinstance(stdout, bytes) else stdout.encode())
        lines = [
            "#!/bin/sh",
            _RECORD.format(calls=shlex.quote(str(_record_of(program)))),
            script,
            f"cat {shlex.quote(str(output))}",
            f"printf %s {shlex.quote(stderr)} >&2",
            "exec sleep 3600" if hangs else f"exit {exit_code}",
        ]
        program.write_text("\n".join(lines) + "\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        before = os.environ.get("PATH", "")
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
        try:
            yield StandIn(program)
        finally:
            os.environ["PATH"] = before


def _record_of(program: Path) -> Path:
    return program.with_name(f"{program.name}.calls")
