"""Where a daemon keeps what outlives it."""

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(option: str | None, file: Path, environ: Mapping[str, str]) -> Path:
    """Return where state is kept that outlives the process; `option` is `stateDir`."""
    if option:
        return file.absolute().parent / os.path.expanduser(option)
    # systemd joins several folders with colons; the first is the unit's own.
    by_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    state_home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state_home) / "pollect"
