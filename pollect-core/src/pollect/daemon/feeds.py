"""Where targets come from: files that are looked at, and URLs that are asked.

What cannot be read, or is cut off or empty, leaves the targets as they were; of a URL also over a
restart, as a daemon keeps the last answer. Protocol of the URL: HTTP SD of the Prometheus
documentation; `ETag` and `Retry-After` are heeded (RFC 9110).
"""

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pollect.config.document import Document, join_path
from pollect.config.files import Unreadable, read_text
from pollect.config.inventory import LARGEST_BYTES, Listing, Target, read_document, read_listing
from pollect.config.targets import TargetsOptions
from pollect.daemon.answers import TOUCH_SECONDS, answer_file, touch
from pollect.errors import BadResponse, ConfigError, ProbeError, TargetUnavailable
from pollect.support.durations import parse_duration
from pollect.support.http_fields import parse_retry_after
from pollect.support.options import ClientTls
from pollect.support.private_files import read_private, write_private
from pollect.support.urls import check_url, redact_url
from pollect.troubles import Troubles

if TYPE_CHECKING:
    from pollect.support.http import HttpClient, Response

log = logging.getLogger("pollect.targets")

#: Seconds between two looks at files; one look at one costs some microseconds.
LOOK_SECONDS = 2.0
#: Files of one pattern at most.
MOST_FILES = 1000
#: A URL that has not answered yet is asked again after this, if the interval is longer.
FIRST_RETRY_SECONDS = 5.0
SHORTEST_INTERVAL = 1.0
LONGEST_RETRY_AFTER = 3600.0
_SUFFIXES = (".json", ".yml", ".yaml")
_WILD = re.compile(r"[*?\[]")


class Entry(NamedTuple):
    """One target, and where it stands."""

    target: Target
    #: In what its feed read: `[3].targets[0]`.
    path: str
    listed: "Listed"


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """What one file or URL said last."""

    #: The file, or None for a URL, which is then in `name`.
    file: Path | None
    name: str
    listing: Listing

    def entries(self) -> Iterator[Entry]:
        return (Entry(target, path, self) for target, path in self.listing.targets)

    def problems(self) -> Iterator[ConfigError]:
        """Yield what is wrong with entries that could not even be read."""
        return (self._named(error) for error in self.listing.bad)

    def explain(self, errors: list[tuple[str, ConfigError]]) -> list[ConfigError]:
        """Return mistakes of entries, given by their paths, with their places in the file."""
        document = _read_again(self.file) if self.file is not None else Document(None, None, {}, {})
        return [self._named(document.located(error, path)) for path, error in errors]

    def _named(self, error: ConfigError) -> ConfigError:
        if error.file is not None:
            return error
        found = ConfigError(error.problem, key=f"{self.name}: {error.key}", hint=error.hint)
        found.__cause__ = error.__cause__
        return found


class Feed(Protocol):
    """One source of targets."""

    #: It is quick to look at and asks no one.
    is_local: bool

    def is_due(self, now: float) -> bool:
        """Whether to refresh it at this monotonic time."""

    def next_due(self) -> float:
        """Return the monotonic time of the next refresh."""

    def refresh(self, now: float, troubles: Troubles) -> bool:
        """Look again; return whether anything changed. What stands in the way is noted."""

    def listed(self) -> Iterator[Listed]:
        """Yield what is there now."""

    def keep(self) -> None:
        """Have what came last on the disk, if it would be missed after a restart.

        Called after each refresh.
        """


class FileFeed:
    """The files that match one pattern."""

    is_local = True

    def __init__(self, pattern: str, folder: Path) -> None:
        """Raises `ConfigError` for a pattern that Prometheus would not take either."""
        path = folder / Path(pattern).expanduser()
        if path.suffix.lower() not in _SUFFIXES:
            expected = ", ".join(_SUFFIXES)
            raise ConfigError(f"expected a file {expected}, got {pattern!r}", key="targets.file")
        if _WILD.search(str(Path(pattern).parent)):
            problem = f"expected '*' in the last part of the name only, got {pattern!r}"
            raise ConfigError(problem, key="targets.file")
        self._path = path
        self._is_pattern = bool(_WILD.search(path.name))
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        self._listed: dict[Path, Listed] = {}
        self._due = float("-inf")

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def next_due(self) -> float:
        return self._due

    def refresh(self, now: float, troubles: Troubles) -> bool:
        self._due = now + LOOK_SECONDS
        try:
            files = self._find()
        except OSError as error:
            troubles.failed(str(self._path), error.strerror or error, error.errno)
            return False
        gone = self._listed.keys() - files if self._is_pattern else ()
        for file in gone:
            del self._listed[file], self._stamps[file]
            troubles.works(str(file))
        if len(files) > MOST_FILES:
            problem = f"{len(files):,} files, only {MOST_FILES:,} are read"
            troubles.failed(str(self._path), problem, "many")
        else:
            troubles.works(str(self._path)) if self._is_pattern else None
        # All of them, whatever the first one says.
        changed = [self._look(file, troubles) for file in files[:MOST_FILES]]
        return bool(gone) or any(changed)

    def listed(self) -> Iterator[Listed]:
        return iter([self._listed[file] for file in sorted(self._listed)])

    def keep(self) -> None:
        """Files are there after a restart, too."""

    def _find(self) -> list[Path]:
        if not self._is_pattern:
            return [self._path]
        folder, pattern = self._path.parent, self._path.name
        return sorted(file for file in folder.iterdir() if fnmatchcase(file.name, pattern))

    def _look(self, file: Path, troubles: Troubles) -> bool:
        try:
            found = file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamps.get(file):
                return False
            listing = _read_file(file)
        except (ConfigError, OSError) as error:
            if isinstance(error, ConfigError):
                self._stamps[file] = stamp
                line = f" in line {error.line}" if error.line else ""
                troubles.failed(str(file), f"{error.problem}{line}", "content")
            else:
                troubles.failed(str(file), error.strerror or error, error.errno)
            return False
        troubles.works(str(file))
        self._stamps[file] = stamp
        before = self._listed.get(file)
        self._listed[file] = Listed(file, str(file), listing)
        return before is None or before.listing != listing


class HttpFeed:
    """A URL that answers with targets."""

    is_local = False

    def __init__(
        self, url: str, options: TargetsOptions, folder: Path, state_dir: Path | None = None
    ) -> None:
        """Raises `ConfigError` with the `key` in question.

        Begins with the last answer that a daemon with this `state_dir` kept.
        """
        self._url = check_url(url, key="targets.http", credentials=False)
        self._name = redact_url(url)
        try:
            interval = parse_duration(options.refresh_interval)
        except ValueError as error:
            raise ConfigError(str(error), key="targets.refreshInterval") from error
        if interval < SHORTEST_INTERVAL:
            problem = f"expected {SHORTEST_INTERVAL:g}s or more, got {options.refresh_interval}"
            raise ConfigError(problem, key="targets.refreshInterval")
        if options.user and options.token:
            raise ConfigError("name either a user or a token", key="targets.token")
        self._interval = interval
        self._options = options
        self._folder = folder
        self._client: HttpClient | None = None
        self._etag = ""
        self._listed: Listed | None = None
        self._due = float("-inf")
        #: Where its last answer is kept, None if that does not matter.
        self.answer: Path | None = None
        self._touched = float("-inf")
        #: An answer that is not on the disk yet.
        self._unsaved = ""
        if state_dir is not None:
            self.answer = answer_file(state_dir, options.user, url)
            self._restore(self.answer)

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def next_due(self) -> float:
        return self._due

    def refresh(self, now: float, troubles: Troubles) -> bool:
        asked_pause = 0.0
        try:
            response = self._ask()
            asked_pause = _retry_after(response)
            listing = self._read(response)
        except (ProbeError, ConfigError) as error:
            kind = (type(error), type(error.__cause__))
            text = error.problem if isinstance(error, ConfigError) else str(error)
            troubles.failed(self._name, text.removeprefix(f"{self._name}: "), kind)
            pause = self._interval if self._listed else min(self._interval, FIRST_RETRY_SECONDS)
            self._due = time.monotonic() + max(pause, asked_pause)
            return False
        self._due = time.monotonic() + self._interval
        troubles.works(self._name)
        if listing is None:
            return False
        before, self._listed = self._listed, Listed(None, self._name, listing)
        if before is not None and before.listing == listing:
            return False
        self._unsaved = _text_of(response)
        return True

    def listed(self) -> Iterator[Listed]:
        return iter([self._listed] if self._listed is not None else [])

    def keep(self) -> None:
        if self.answer is None:
            return
        now = time.monotonic()
        if not self._unsaved:
            if now - self._touched >= TOUCH_SECONDS:
                self._touched = now
                touch(self.answer)
            return
        text, self._unsaved, self._touched = self._unsaved, "", now
        try:
            write_private(self.answer, text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            log.warning(
                "%s: its targets will be unknown after a restart until it answers: %s: %s",
                self._name, self.answer, error.strerror or error,
            )  # fmt: skip

    def _restore(self, file: Path) -> None:
        try:
            content = read_private(file, max_bytes=LARGEST_BYTES)
            listing = read_listing(content.decode("utf-8", "surrogatepass"), None)
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            log.warning("%s: its last answer cannot be used: %s: %s", self._name, file, reason)
            return
        self._listed = Listed(None, self._name, listing)
        count = len(listing.targets)
        log.info("%s: starting with the targets of its last answer: %d", self._name, count)

    def _ask(self) -> "Response":
        if self._client is None:
            from pollect.support.http import HttpClient

            options = self._options
            tls = options.tls or ClientTls()
            self._client = HttpClient(
                timeout=options.timeout,
                user=options.user,
                password=options.password,
                token=options.token if options.token else None,
                max_body_bytes=LARGEST_BYTES,
                keep_alive=False,
                **tls.files(self._folder),
            )
        headers = {
            "Accept": "application/json",
            # What Prometheus sends; some servers go by it.
            "X-Prometheus-Refresh-Interval-Seconds": f"{self._interval:g}",
        }
        if self._etag and self._listed is not None:
            headers["If-None-Match"] = self._etag
        return self._client.get(self._url, headers=headers, statuses=(200, 304, 429, 503))

    def _read(self, response: "Response") -> Listing | None:
        """Return what an answer lists, None if nothing changed."""
        if response.status == 304:
            if self._listed is None:
                raise BadResponse("status 304 for what was never sent")
            return None
        if response.status != 200:
            raise TargetUnavailable(f"refused with status {response.status}")
        listing = read_listing(_text_of(response), None)
        self._etag = response.headers.get("ETag", "")
        return listing


def build_feeds(options: TargetsOptions, folder: Path, state_dir: Path | None = None) -> list[Feed]:
    """Return the feeds of an inventory; raises `ConfigError` with the `key` in question.

    `state_dir` has the last answers of URLs, None if they do not matter.
    """
    feeds: list[Feed] = []
    for index, pattern in enumerate(options.file):
        try:
            feeds.append(FileFeed(pattern, folder))
        except ConfigError as error:
            if len(options.file) > 1:
                error.key = join_path(error.key, index)
            raise
    if options.http:
        feeds.append(HttpFeed(options.http, options, folder, state_dir))
    return feeds


def _text_of(response: "Response") -> str:
    return response.text().removeprefix("\ufeff")


def _read_file(file: Path) -> Listing:
    try:
        text = read_text(file, most_bytes=LARGEST_BYTES)
    except Unreadable as error:
        raise ConfigError(f"cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text") from error
    return read_listing(text, file)


def _read_again(file: Path) -> Document:
    """Read a file with its places, for a message."""
    try:
        return read_document(read_text(file, most_bytes=LARGEST_BYTES), file)
    except (ConfigError, Unreadable, UnicodeDecodeError):  # changed since
        return Document(file, None, {}, {})


def _retry_after(response: "Response") -> float:
    """Return the seconds that a server asks to be left alone (RFC 9110, section 10.2.3)."""
    asked = parse_retry_after(response.headers.get("Retry-After", ""), time.time())
    return min(asked or 0.0, LONGEST_RETRY_AFTER)
