"""The control socket of a running daemon: `control.sock` in the state folder, for its owner alone.

One line of JSON asks, one line answers: `{"command": "status"}` gives `{"ok": ...}` or
`{"error": "..."}`. The lock beside it, `daemon.lock`, tells a second daemon that the folder is in
use, and outlives no process.
"""

import contextlib
import fcntl
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pollect.errors import PollectError, TargetUnavailable, describe
from pollect.support.private_files import FILE_MODE, FOLDER_MODE

log = logging.getLogger("pollect")

SOCKET = "control.sock"
LOCK = "daemon.lock"
#: Bytes of a question; and requests answered at the same time, each in a thread.
MOST_BYTES = 64 * 1024
MOST_REQUESTS = 32
#: Seconds a client may take to ask, or to read its answer.
CLIENT_SECONDS = 5.0
#: Seconds a client waits for an answer: a reload or a probe takes its time.
ANSWER_SECONDS = 150.0
_BACKLOG = 16
#: Bytes that the address of a Unix socket may have.
_LONGEST_ADDRESS = 100

#: Answers one command; a `PollectError` it raises is sent to the client.
Command = Callable[[Mapping[str, Any]], object]


class Control:
    """Listens in a state folder and answers commands."""

    def __init__(self, folder: Path, commands: Mapping[str, Command]) -> None:
        self._folder = folder
        self._commands = commands
        self._lock: int | None = None
        self._listener: socket.socket | None = None
        self._places = threading.BoundedSemaphore(MOST_REQUESTS)

    def start(self, config: Path) -> None:
        """Begin to listen; where that is impossible the daemon runs without, and says so once."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            if self._take_lock(config):
                self._listen()
        except OSError as error:
            log.info(
                "%s: no control socket: %s; `pollect status` and `reload` do not work",
                self._folder / SOCKET,
                error.strerror or error,
            )

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._folder / SOCKET)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _take_lock(self, config: Path) -> bool:
        """Return whether this daemon is the only one in the folder; warn if it is not."""
        file = self._folder / LOCK
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(file, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            log.warning(
                "the state folder %s is in use by another pollect (%s): tokens, counts and spools "
                "get mixed up; give one of the two its own `stateDir`",
                self._folder,
                owner or "process unknown",
            )
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, {config}\n".encode(errors="replace"), 0)
        self._lock = descriptor
        return True

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / SOCKET)  # of a daemon that was killed: we have the lock
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(self._folder) as address:
                # Between `bind` and `listen` no client can connect; from then on the mode counts.
                listener.bind(address)
            os.chmod(self._folder / SOCKET, FILE_MODE)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        name = "pollect-control"
        threading.Thread(target=self._accept, args=(listener,), name=name, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._listener is None:
                    return
                continue
            if not self._places.acquire(timeout=CLIENT_SECONDS):
                connection.close()
                continue
            try:
                threading.Thread(
                    target=self._serve, args=(connection,), name="pollect-control", daemon=True
                ).start()
            except RuntimeError:  # no thread to be had
                self._places.release()
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(CLIENT_SECONDS)
                if _user_of(connection) in (0, os.geteuid()):
                    answer = self._answer(_read_line(connection))
                    connection.sendall(msgspec.json.encode(answer) + b"\n")
        except OSError as error:  # gone, or silent
            log.debug("control socket: %s", error)
        finally:
            self._places.release()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = msgspec.json.decode(line)
            command = self._commands[request["command"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = ", ".join(sorted(self._commands))
            return {"error": f"expected a command as JSON, one of: {known}"}
        try:
            return {"ok": command(request)}
        except PollectError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("control socket: %s failed", request["command"], exc_info=error)
            return {"error": f"{describe(error)}; this is a fault of pollect, its log has more"}


def ask(folder: Path, command: str, **request: object) -> Any:
    """Ask the daemon whose state folder this is; return its answer.

    Raises `TargetUnavailable` when none runs there or it does not answer, and `PollectError` with
    what the daemon says against it.
    """
    line = msgspec.json.encode({"command": command, **request}) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            with _address(folder) as address:
                connection.connect(address)
            connection.sendall(line)
            answer = msgspec.json.decode(_read_line(connection, most=None))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise TargetUnavailable(
                f"no pollect runs with the state folder {folder}: start it, or name its config "
                "with -c"
            ) from error
        except PermissionError as error:
            raise TargetUnavailable(
                f"{folder / SOCKET}: not allowed; ask as the user who runs pollect, or as root"
            ) from error
        except (OSError, ValueError) as error:
            raise TargetUnavailable(f"{folder / SOCKET}: {describe(error)}") from error
    if "error" in answer:
        raise PollectError(answer["error"])
    return answer["ok"]


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Yield an address of the socket that is short enough, however long the path is."""
    address = str(folder / SOCKET)
    if len(os.fsencode(address)) <= _LONGEST_ADDRESS:
        yield address
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _read_line(connection: socket.socket, most: int | None = MOST_BYTES) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = connection.recv(MOST_BYTES)
        if not chunk:
            break
        received += chunk
        if most is not None and len(received) > most:
            raise OSError("the question is too long")
    return bytes(received)


def _user_of(connection: socket.socket) -> int | None:
    """Return who is at the other end; None where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return os.geteuid()
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user
