"""Checks of what every daemon needs of its machine: clock, state folder, space, secrets."""

import ctypes
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pollect.operate.doctor import check_written
from pollect.operate.findings import Finding, State
from pollect.operate.survey import CREDENTIALS, Survey

LEAST_FREE_BYTES = 100_000_000
LEAST_FREE_INODES = 1000
#: A timex of the C library has fewer; see adjtimex(2).
_TIMEX_BYTES = 512
_TIME_ERROR = 5


def check_machine(state_dir: Path) -> Iterator[Finding]:
    """Yield what is wrong with the clock and with the folder for state."""
    yield _check_clock()
    yield _check_state(state_dir)
    yield _check_space(state_dir)


def check_secrets(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with the files that the config takes secrets from, and with variables."""
    folder = os.environ.get(CREDENTIALS)
    if survey.credentials and folder is None:
        names = ", ".join(survey.credentials)
        cure = f"in a shell: {CREDENTIALS}=/etc/pollect/credentials pollect ..."
        yield Finding(State.NOTE, "secrets", f"systemd hands over {names}, not here", cure)
    files = [Path(name) for name in survey.secret_files]
    files += [Path(folder) / name for name in survey.credentials] if folder else []
    for file in files:
        try:
            mode = file.stat().st_mode
        except OSError as error:
            yield Finding(State.PROBLEM, "secrets", f"{file}: {error.strerror}", "write it")
            continue
        if not os.access(file, os.R_OK, effective_ids=True):
            cure = f"chown it, see `ls -l {file}`"
            yield Finding(State.PROBLEM, "secrets", f"{file}: cannot be read by this user", cure)
        elif mode & stat.S_IROTH:
            what = f"{file}: anyone can read it"
            yield Finding(State.NOTE, "secrets", what, f"chmod 600 {file}")
    for name in survey.variables:
        if name not in os.environ:
            what = f"variable {name} is not set"
            yield Finding(State.PROBLEM, "secrets", what, f"set it, or write ${{{name}:-default}}")


def _check_clock() -> Finding:
    written = Path(__file__).stat().st_mtime
    if time.time() < written - 86400:
        what = f"the clock says {time.strftime('%Y-%m-%d')}, which is before pollect was installed"
        return Finding(State.PROBLEM, "clock", what, "timedatectl set-ntp true")
    if not is_synchronized():
        what = "nothing keeps the clock right: other hosts may refuse certificates and values"
        return Finding(State.NOTE, "clock", what, "apt install systemd-timesyncd")
    return Finding(State.FINE, "clock", "synchronized")


def is_synchronized() -> bool:
    """Whether the kernel knows that its clock is set by others, adjtimex(2); true if unknown."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return True
    return bool(state != _TIME_ERROR)


def _check_state(folder: Path) -> Finding:
    problem = check_written(folder)
    if problem:
        return Finding(State.PROBLEM, "state folder", f"{folder}: {problem[0]}", problem[1])
    if folder.exists() and folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"{folder}: others may write to it"
        return Finding(State.PROBLEM, "state folder", what, f"chmod 700 {folder}")
    what = str(folder) if folder.exists() else f"{folder}, made at the first start"
    return Finding(State.FINE, "state folder", what)


def _check_space(folder: Path) -> Finding:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    inodes = os.statvfs(folder)
    if free < LEAST_FREE_BYTES:
        what = f"{free / 1e6:.0f} MB are left below {folder}"
        return Finding(State.PROBLEM, "free space", what, "make room: buffers are kept there")
    if inodes.f_files and inodes.f_favail < LEAST_FREE_INODES:
        what = f"{inodes.f_favail} inodes are left below {folder}"
        return Finding(State.PROBLEM, "free space", what, "remove small files")
    return Finding(State.FINE, "free space", f"{free / 1e9:.1f} GB below {folder}")
