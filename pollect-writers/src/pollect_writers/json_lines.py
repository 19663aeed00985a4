"""Writer `JsonLines`: one JSON object a line, to a file with rotation or to standard output.

Format: https://jsonlines.org/, fields in `format_lines`. A file that somebody else renames or
removes, as logrotate does, is started again. Needs no third-party library.
"""

import os
import select
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from pollect.api import (
    Batch,
    FilePath,
    Kind,
    Retryable,
    Sample,
    Seconds,
    Writer,
    WriterConfig,
    WriterContext,
    unit_of,
)
from pollect_writers.names import prometheus_name
from pollect_writers.series import SeriesCache

STANDARD_OUTPUT = "-"
_MODE = 0o640

_Parts: TypeAlias = tuple[str, str]


class JsonLinesWriterConfig(WriterConfig, frozen=True, kw_only=True):
    path: Annotated[FilePath, Meta(description="File to append to; `-` is standard output.")] = (
        STANDARD_OUTPUT
    )
    max_bytes: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="Begin a new file before this one gets larger; null: never."),
    ] = 100_000_000
    keep: Annotated[
        int, Meta(ge=0, description="Full files to keep, as `path.1` (the latest), `path.2`, ...")
    ] = 5
    timeout: Annotated[
        Seconds, Meta(description="Seconds to wait for whoever reads standard output.")
    ] = 10.0


class JsonLinesWriter(Writer[JsonLinesWriterConfig]):
    """Writes samples as lines of JSON."""

    config_type = JsonLinesWriterConfig
    accepts_partial = True

    def __init__(self, config: JsonLinesWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._parts = SeriesCache(format_parts)
        self._output: _Stream | _File
        if config.path == STANDARD_OUTPUT:
            self._output = _Stream(config.timeout)
        else:
            self._output = _File(context.config_dir / config.path, config.max_bytes, config.keep)

    def target_identity(self) -> tuple[str, ...]:
        return (self.config.path,)

    def open(self) -> None:
        try:
            self._output.open()
        except OSError as error:
            raise Retryable(f"{self.config.path}: {error.strerror}") from error

    def write(self, batches: Sequence[Batch]) -> None:
        lines = format_lines(batches, self._parts)
        if not lines:
            return
        try:
            self._output.write(lines)
        except OSError as error:
            raise Retryable(f"{self.config.path}: {error.strerror or error}") from error

    def close(self) -> None:
        self._output.close()


def format_lines(batches: Iterable[Batch], parts: SeriesCache[_Parts] | None = None) -> bytes:
    """Return one JSON object for each sample, each with its newline.

    `time` is Unix time in seconds, `metric` the name as in Prometheus, `source` the parts of the
    config it comes from. `name`, `unit` and `kind` are left out where they say nothing. `parts`
    remembers what `format_parts` made of each series.
    """
    parts = parts or SeriesCache(format_parts)
    lines: list[str] = []
    for batch in batches:
        time = batch.time
        lines += [
            f'{{"time":{time if moment is None else moment!r}{before}{value!r}{behind}'
            for (before, behind), (_, value, _, moment) in zip(
                parts.of(batch), batch.samples, strict=True
            )
        ]
    return "".join(lines).encode()


def format_parts(batch: Batch, sample: Sample) -> _Parts:
    """Return what is between the time and the value of a line, and what is behind the value."""
    metric = sample.metric
    before: dict[str, object] = {
        "metric": prometheus_name(batch.source, metric),
        "source": str(batch.source),
    }
    if metric.name is not None:
        before["name"] = metric.name
    before["labels"] = dict(batch.labels_of(sample))
    behind: dict[str, object] = {}
    if unit := unit_of(metric, sample.label_values):
        behind["unit"] = unit
    if metric.kind is not Kind.GAUGE:
        behind["kind"] = metric.kind.value
    ends = [msgspec.json.encode(part).decode()[1:-1] for part in (before, behind)]
    return f',{ends[0]},"value":', (f",{ends[1]}" if behind else "") + "}\n"


class _Stream:
    """Standard output. A reader that pauses makes the delivery late, never the process stuck."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        #: The rest of a line that was cut off when the reader paused.
        self._rest = b""

    def open(self) -> None:
        pass

    def write(self, lines: bytes) -> None:
        descriptor = sys.stdout.fileno()
        data = memoryview(self._rest + lines)
        sent = 0
        while sent < len(data):
            # A pipe that is ready takes PIPE_BUF bytes without blocking, and maybe no more.
            _, ready, _ = select.select([], [descriptor], [], self._timeout)
            if not ready:
                self._keep_rest(bytes(data), sent)
                raise TimeoutError(0, f"standard output has not been read for {self._timeout:g} s")
            sent += os.write(descriptor, data[sent : sent + select.PIPE_BUF])
        self._rest = b""

    def close(self) -> None:
        pass

    def _keep_rest(self, data: bytes, sent: int) -> None:
        """Remember to finish the line in hand: the next attempt begins with whole lines."""
        inside_a_line = sent > 0 and data[sent - 1 : sent] != b"\n"
        if sent >= len(self._rest):
            self._rest = data[sent : data.index(b"\n", sent) + 1] if inside_a_line else b""
        else:
            self._rest = self._rest[sent:]


class _File:
    """A file that is only ever appended to, in whole lines, and rotated by size."""

    def __init__(self, path: Path, max_bytes: int | None, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor: int | None = None

    def open(self) -> None:
        self._open()

    def write(self, lines: bytes) -> None:
        descriptor = self._open()
        size = os.fstat(descriptor).st_size
        if self._max_bytes is not None and size and size + len(lines) > self._max_bytes:
            self._rotate()
            descriptor, size = self._open(), 0
        try:
            data = memoryview(lines)
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            # A full disk takes a part; without it, the next attempt repeats nothing.
            os.ftruncate(descriptor, size)
            raise

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _rotate(self) -> None:
        self.close()
        if self._keep == 0:
            self._path.unlink()
        else:
            for number in range(self._keep, 0, -1):
                older = self._path if number == 1 else self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))

    def _open(self) -> int:
        """Open the file that has the path now; another one may have been put there."""
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, _MODE)
        return self._descriptor

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        here = os.fstat(descriptor)
        return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
