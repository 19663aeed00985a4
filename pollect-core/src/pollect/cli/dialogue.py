"""The operator at the terminal: what a source shows and asks while it signs in."""

import getpass
import os
import select
import sys
import time
from collections.abc import Callable, Mapping

from pollect.cli.browser import BrowserFlow
from pollect.errors import PollectError, TargetUnavailable
from pollect.plugin import AuthorizationCode, Secret

#: How long a browser may take; a service's own page gives up earlier.
BROWSER_SECONDS = 300.0
#: Between two looks at what the browser brought.
_GLANCE_SECONDS = 0.1
_READ_BYTES = 4096


class Lines:
    """The lines of standard input, one at a time and with a time limit."""

    def __init__(self) -> None:
        self._buffer = b""
        self._ended = False

    def next(self, timeout: float | None) -> str | None:
        """Return the next line without its end, or None if there is none in `timeout` seconds.

        Raises `EOFError` when standard input ended.
        """
        while b"\n" not in self._buffer and not self._ended:
            try:
                ready, _, _ = select.select([sys.stdin], [], [], timeout)
                part = os.read(sys.stdin.fileno(), _READ_BYTES) if ready else None
            except (OSError, ValueError) as error:  # closed, as by a service manager
                raise EOFError from error
            if part is None:
                return None
            self._buffer += part
            self._ended = not part
        if not self._buffer:
            raise EOFError
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")


class TerminalDialogue:
    """A `SignIn` on standard input and output."""

    def __init__(self, *, open_browser: bool = True) -> None:
        self._open_browser = open_browser
        self._lines = Lines()

    def show(self, text: str) -> None:
        print(text, flush=True)

    def ask(self, question: str, *, default: str = "") -> str:
        hint = f" [{default}]" if default else ""
        print(f"{question}{hint}: ", end="", flush=True)
        return self._line(question).strip() or default

    def ask_secret(self, question: str) -> Secret:
        if sys.stdin.isatty():
            return Secret(getpass.getpass(f"{question}: "))
        print(f"{question}: ", end="", flush=True)
        answer = self._line(question)
        print(flush=True)
        return Secret(answer)

    def authorize(
        self, url: str, *, redirect_uri: str, parameters: Mapping[str, str]
    ) -> AuthorizationCode:
        with BrowserFlow(url, redirect_uri, parameters) as flow:
            self.show(f"Sign in on this page:\n\n  {flow.address}\n")
            if self._open_browser:
                flow.open_browser()
            if flow.listens:
                self.show(
                    "Waiting for the browser. If it runs on another machine, paste the address "
                    "it ends at (it starts with the redirect URL), then press Enter."
                )
            else:
                self.show(
                    "Then paste the address the browser ends at, or the code in it, and press "
                    "Enter."
                )
            end = time.monotonic() + BROWSER_SECONDS
            reads = True
            while time.monotonic() < end:
                found = flow.arrived(0 if reads else _GLANCE_SECONDS)
                if found is not None:
                    return found
                if not reads:
                    continue
                try:
                    line = self._lines.next(_GLANCE_SECONDS)
                except EOFError:
                    if not flow.listens:
                        raise PollectError("standard input ended before a code was given") from None
                    reads = False
                    continue
                if line is not None and line.strip():
                    problem = flow.paste(line.strip())
                    if problem:
                        self.show(problem)
        raise TargetUnavailable(f"no sign-in within {BROWSER_SECONDS:g} s")

    def wait_for(
        self,
        text: str,
        done: Callable[[], bool],
        *,
        timeout: float = 300.0,
        pause: float = 2.0,
    ) -> None:
        self.show(text)
        end = time.monotonic() + timeout
        while not done():
            if time.monotonic() + pause > end:
                raise TargetUnavailable(f"waited {timeout:g} s in vain")
            time.sleep(pause)

    def _line(self, question: str) -> str:
        try:
            return self._lines.next(None) or ""
        except EOFError:
            raise PollectError(
                f"standard input ended where an answer was expected: {question}"
            ) from None
