"""A reload, in a thread of its own: what it runs is code of plugins, which may never return."""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from pollect.errors import ConfigError, InvalidConfig, PollectError, describe
from pollect.model import Reload as Outcome

#: A reload that takes longer is given up. Thousands of sources take seconds.
RELOAD_SECONDS = 30.0
#: Mistakes of a config that are logged one by one.
MOST_MISTAKES = 50
NOT_RELOADED = "the config was not reloaded, the old one goes on"

log = logging.getLogger("pollect")


class Reload:
    """One attempt to go from the config that runs to the one in the file."""

    def __init__(
        self,
        file: Path,
        work: Callable[["Reload"], None],
        wake: Callable[[], None],
        *,
        refusal: str = NOT_RELOADED,
    ) -> None:
        """`work` does it all and asks `commit` before it changes anything; `wake` ends a wait.

        `refusal` is logged in front of why nothing came of it.
        """
        self._refusal = refusal
        self._file = file
        self._work = work
        self._wake = wake
        self._lock = threading.Lock()
        self._committed = False
        self._given_up = False
        self._ended = False
        self._error: BaseException | None = None
        #: What it changed, in words.
        self.changes: Sequence[str] = ()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Begin; without a thread to be had the reload fails, and says so."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._ended, self._error = True, error
            log_refusal(self._file, error, self._refusal)

    @property
    def running(self) -> bool:
        """Whether it may still come to an end."""
        return not (self._ended or self._given_up)

    def outcome(self, time: float) -> Outcome:
        """Return what came of it, once it does not run any more; `time` is Unix time in seconds."""
        error = "" if self._error is None else "\n".join(describe_refusal(self._file, self._error))
        return Outcome(time=time, successful=not error, error=error, changes=self.changes)

    def commit(self) -> bool:
        """Whether the new config may take the place of the old one; False if it took too long."""
        with self._lock:
            self._committed = not self._given_up
            return self._committed

    def abandon(self) -> bool:
        """Let nothing come of it any more; False if that is too late."""
        with self._lock:
            if self.running and not self._committed:
                self._given_up = True
            return self._given_up

    def give_up(self) -> None:
        """Abandon it, and log what it hangs in."""
        if not self.abandon():
            return
        frame = sys._current_frames().get(self._thread.ident or 0)
        problem = f"{_place_of(frame)} has not returned for {RELOAD_SECONDS:g} s"
        self._error = ConfigError(problem, file=self._file)
        log_refusal(self._file, self._error, self._refusal)

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:  # noqa: BLE001 - nothing that a plugin raises ends the daemon
            if not self._given_up:
                self._error = error
                unexpected = not isinstance(error, PollectError)
                log_refusal(self._file, error, self._refusal, trace=error if unexpected else None)
        finally:
            self._ended = True
            self._wake()


def log_refusal(
    file: Path,
    error: BaseException,
    refusal: str = NOT_RELOADED,
    *,
    trace: BaseException | None = None,
) -> None:
    """Log why a config was not taken up, one record for each of its mistakes."""
    log.error("%s", refusal, exc_info=trace)
    for line in describe_refusal(file, error):
        log.error("%s", line)


def describe_refusal(file: Path, error: BaseException) -> list[str]:
    """Return one line for each mistake of a config, each with the file."""
    problems = error.problems if isinstance(error, InvalidConfig) else [error]
    texts = [describe(problem) for problem in problems[:MOST_MISTAKES]]
    lines = [text if str(file) in text else f"{file}: {text}" for text in texts]
    if len(problems) > MOST_MISTAKES:
        lines.append(f"{file}: {len(problems) - MOST_MISTAKES} more mistakes")
    return lines


def _place_of(frame: FrameType | None) -> str:
    """Return the innermost place outside of the standard library, `extensions/tide.py:3`."""
    library = str(Path(threading.__file__).parent)
    while frame is not None:
        name = frame.f_code.co_filename
        packages = "site-packages" in name or "dist-packages" in name
        if not name.startswith("<") and (packages or not name.startswith(library)):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "the reload"
