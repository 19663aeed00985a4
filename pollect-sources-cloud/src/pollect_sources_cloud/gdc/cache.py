"""The folder of downloaded files, with the generation of each beside it."""

import json
from contextlib import suppress
from pathlib import Path

from pollect.api import ProbeError
from pollect_sources_cloud.files import keep
from pollect_sources_cloud.gdc.reports import ReportKind

#: Months kept for each report of an app: the running one and the one before.
KEPT_MONTHS = 2
MAX_FILE_BYTES = 64 * 1024 * 1024


class ReportFolder:
    """Files named as the objects of the bucket are, which is how 1.x named them, too.

    The generation of `NAME` stands in `.NAME.generation`; the dot hides it from 1.x, which reads
    every file whose name starts like a report.
    """

    def __init__(self, path: Path, bucket: str) -> None:
        self._path = path
        self._bucket = bucket

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none; raises `ProbeError`."""
        try:
            with (self._path / name).open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ProbeError(f"cannot read {self._path / name}: {reason}") from error

    def generation(self, name: str) -> str | None:
        """Return which state of the object a file is; None if that is not known."""
        try:
            facts = json.loads(self._note(name).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(facts, dict) or facts.get("bucket") != self._bucket:
            return None
        generation = facts.get("generation")
        return generation if isinstance(generation, str) else None

    def store(self, name: str, content: bytes, generation: str) -> None:
        """Keep a file; raises `ProbeError` when it cannot be written."""
        keep(self._path / name, content)
        facts = {"bucket": self._bucket, "generation": generation}
        keep(self._note(name), json.dumps(facts).encode())

    def months(self, kind: ReportKind, package: str) -> list[str]:
        """Return the months that there are files of, newest first."""
        try:
            names = [entry.name for entry in self._path.iterdir()]
        except OSError:
            return []
        return sorted(filter(None, (kind.month_of(package, name) for name in names)), reverse=True)

    def prune(self, kind: ReportKind, package: str) -> None:
        """Delete what is older than the newest months."""
        for month in self.months(kind, package)[KEPT_MONTHS:]:
            name = kind.file_name(package, month)
            with suppress(OSError):
                (self._path / name).unlink()
            with suppress(OSError):
                self._note(name).unlink()

    def _note(self, name: str) -> Path:
        return self._path / f".{name}.generation"
