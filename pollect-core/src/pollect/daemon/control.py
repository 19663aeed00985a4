"""The control socket of a running daemon: in its run or state folder, for its owner alone.

One line of JSON asks, one line answers: `{"command": "status"}` gives `{"ok": ...}` or
`{"error": "..."}`. The lock in the state folder, `daemon.lock`, tells a second daemon that the
folder is in use, and outlives no process; it says where the socket is.
"""

import contextlib
import fcntl
import logging
import os
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pollect.errors import PollectError, TargetUnavailable, describe
from pollect.support.private_files import FILE_MODE, FOLDER_MODE

log = logging.getLogger("pollect")

SOCKET = "control.sock"
LOCK = "daemon.lock"
#: The run folder of a service of the system, see `pollect unit`.
SERVICE_RUN_FOLDER = Path("/run/pollect")
_SOCKET_LINE = "socket "
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
    """Listens in the run or the state folder and answers commands."""

    def __init__(
        self,
        folder: Path,
        commands: Callable[[], Mapping[str, Command]],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`commands` is called for each request: what they need is imported by the first."""
        self._folder = folder
        self._commands = commands
        self._environ = environ
        self._lock: int | None = None
        self._socket: Path | None = None
        self._listener: socket.socket | None = None
        self._places = threading.BoundedSemaphore(MOST_REQUESTS)

    def start(self, config: Path) -> None:
        """Begin to listen; where that is impossible the daemon runs without, and says so once."""
        problems = []
        for number, place in enumerate(socket_places(self._folder, self._environ)):
            try:
                place.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
                if self._lock is None and not self._take_lock(place):
                    return
                self._listen(place)
            except OSError as error:
                problems.append(f"{place}: {error.strerror or error}")
                continue
            self._note_socket(place, config)
            if number and place.parent != self._folder:
                log.debug("the control socket is %s", place)
            return
        log.info(
            "no control socket: %s; `pollect status` and `reload` do not work",
            "; ".join(problems),
        )

    def follow(self, folder: Path, config: Path) -> None:
        """Listen for another state folder, or again where the old files were removed."""
        if folder == self._folder and (self._listener is None or self._is_in_place()):
            return
        self.close()
        self._folder = folder
        self.start(config)

    def _is_in_place(self) -> bool:
        if self._lock is None or self._socket is None or not self._socket.is_socket():
            return False
        return os.fstat(self._lock).st_nlink > 0

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None and self._socket is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._socket)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _take_lock(self, place: Path) -> bool:
        """Return whether this daemon is the only one with its state; warn if it is not.

        The lock is in the state folder; where that is read-only it is beside the socket.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            descriptor = os.open(self._folder / LOCK, flags, FILE_MODE)
        except OSError:
            if place.parent == self._folder:
                raise
            descriptor = os.open(place.with_suffix(".lock"), flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
            os.close(descriptor)
            log.warning(
                "the state folder %s is in use by another pollect (%s): tokens, counts and spools "
                "get mixed up; give one of the two its own `stateDir`",
                self._folder,
                owner.partition("\n")[0].strip() or "process unknown",
            )
            return False
        self._lock = descriptor
        return True

    def _note_socket(self, place: Path, config: Path) -> None:
        """Say in the lock who runs here, and where it listens."""
        if self._lock is None:
            return
        text = f"process {os.getpid()}, {config}\n{_SOCKET_LINE}{place}\n"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text.encode(errors="surrogateescape"), 0)

    def _listen(self, place: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)  # of a daemon that was killed: we have the lock
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(place) as address:
                # Between `bind` and `listen` no client can connect; from then on the mode counts.
                listener.bind(address)
            os.chmod(place, FILE_MODE)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener, self._socket = listener, place
        name = "pollect-control"
        threading.Thread(target=self._accept, args=(listener,), name=name, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._listener is not listener:
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
        commands = self._commands()
        try:
            request = msgspec.json.decode(line)
            command = commands[request["command"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = ", ".join(sorted(commands))
            return {"error": f"expected a command as JSON, one of: {known}"}
        try:
            return {"ok": command(request)}
        except PollectError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("control socket: %s failed", request["command"], exc_info=error)
            return {"error": f"{describe(error)}; this is a fault of pollect, its log has more"}


def socket_places(folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where the socket of the daemon with a state folder may be, the best place first.

    That is the run folder a service has, else the state folder, and where that is read-only the
    run folder of the user or of the system. A run folder is shared: there its name has a digest.
    """
    # Not hashlib, which brings OpenSSL along.
    digest = f"{zlib.crc32(os.fsencode(folder.absolute())):08x}"
    given = [Path(name) for name in environ.get("RUNTIME_DIRECTORY", "").split(":") if name]
    of_user = environ.get("XDG_RUNTIME_DIR")
    usual = [*([Path(of_user) / "pollect"] if of_user else []), SERVICE_RUN_FOLDER]
    shared = Path(SOCKET).with_stem(f"control-{digest}")
    places = [
        *(run / shared for run in given),
        folder / SOCKET,
        *(run / shared for run in usual),
    ]
    return list(dict.fromkeys(places))


def find_socket(folder: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the socket of the daemon with a state folder; None if there is none."""
    with contextlib.suppress(OSError):
        text = (folder / LOCK).read_bytes().decode(errors="surrogateescape")
        for line in text.splitlines():
            noted = Path(line.removeprefix(_SOCKET_LINE))
            if line.startswith(_SOCKET_LINE) and noted.exists():
                return noted
    return next((place for place in socket_places(folder, environ) if _exists(place)), None)


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # in a folder that is not ours
        return False


def ask(folder: Path, command: str, **request: object) -> Any:
    """Ask the daemon whose state folder this is; return its answer.

    Raises `TargetUnavailable` when none runs there or it does not answer, and `PollectError` with
    what the daemon says against it.
    """
    line = msgspec.json.encode({"command": command, **request}) + b"\n"
    place = find_socket(folder) or folder / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            with _address(place) as address:
                connection.connect(address)
            connection.sendall(line)
            answer = msgspec.json.decode(_read_line(connection, most=None))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise TargetUnavailable(
                f"no pollect runs with the state folder {folder}: start it, or name the config "
                "of the one that runs"
            ) from error
        except PermissionError as error:
            raise TargetUnavailable(
                f"{place}: not allowed; ask as the user who runs pollect, or as root"
            ) from error
        except (OSError, ValueError) as error:
            raise TargetUnavailable(f"{place}: {describe(error)}") from error
    if "error" in answer:
        raise PollectError(answer["error"])
    return answer["ok"]


@contextlib.contextmanager
def _address(place: Path) -> Iterator[str]:
    """Yield an address of the socket that is short enough, however long the path is."""
    address = str(place)
    if len(os.fsencode(address)) <= _LONGEST_ADDRESS:
        yield address
        return
    descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{place.name}"
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
