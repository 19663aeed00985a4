"""Writer `Graphite`: Carbon, VictoriaMetrics and others that take Graphite's plain text.

Protocol: TCP, one line `path;tag=value;... value seconds` for each sample,
https://graphite.readthedocs.io/en/stable/feeding-carbon.html. Nothing is acknowledged, so every
delivery has its own connection: we say that we are done, and that the server then closes is the
proof that it has read all lines. Needs no third-party library.
"""

import re
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from pollect.api import Batch, Host, Retryable, Sample, Seconds, Writer, WriterConfig, WriterContext
from pollect_writers.names import free_names
from pollect_writers.series import SeriesCache

DEFAULT_PORT = 2003

_NOT_IN_A_PATH = re.compile(r"[^a-zA-Z0-9_.:\-]+")
_NOT_IN_A_LEVEL = re.compile(r"[^a-zA-Z0-9_:\-]+")
_NOT_IN_A_TAG_NAME = re.compile(r"[;!^=\s\x00-\x1f\x7f-\x9f]+")
_NOT_IN_A_TAG_VALUE = re.compile(r"[;\s\x00-\x1f\x7f-\x9f]+")
#: The tag that holds the path itself.
RESERVED_TAGS = frozenset({"name"})
_QUOTED_BYTES = 40


class GraphiteWriterConfig(WriterConfig, frozen=True, kw_only=True):
    host: Annotated[Host, Meta(description="Host of the server.")] = "localhost"
    port: Annotated[
        int, Meta(gt=0, le=65535, description="TCP port for the plain text protocol.")
    ] = DEFAULT_PORT
    prefix: Annotated[
        str, Meta(description="Put before every path, as in `servers.host1`; a dot is added.")
    ] = ""
    tags: Annotated[
        bool,
        Meta(description="Send labels as tags; if false, as two more levels of the path each."),
    ] = True
    timeout: Annotated[Seconds, Meta(description="Seconds one delivery may take.")] = 10.0


class GraphiteWriter(Writer[GraphiteWriterConfig]):
    """Sends samples to a Graphite server."""

    config_type = GraphiteWriterConfig

    def __init__(self, config: GraphiteWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._paths = build_paths(prefix=config.prefix, tags=config.tags)

    def target_identity(self) -> tuple[str, ...]:
        return self.config.host, str(self.config.port)

    def write(self, batches: Sequence[Batch]) -> None:
        lines = "".join(format_lines(batches, self._paths))
        if lines:
            self._deliver(lines.encode())

    def _deliver(self, data: bytes) -> None:
        config = self.config
        # Real time, as that of the socket is, whatever clock the engine goes by.
        deadline = time.monotonic() + config.timeout
        target = f"{config.host}:{config.port}"
        try:
            with socket.create_connection((config.host, config.port), config.timeout) as connection:
                # For sendall the time-out is one for all of the data.
                connection.settimeout(_remaining(deadline))
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(_remaining(deadline))
                answer = connection.recv(_QUOTED_BYTES)
        except TimeoutError as error:
            raise Retryable(f"{target} did not take the data in {config.timeout:g} s") from error
        except OSError as error:
            raise Retryable(f"{target}: {error.strerror or error}") from error
        if answer:
            # A Graphite server never says a word.
            raise Retryable(f"{target} speaks another protocol: {answer!r}")


def format_lines(batches: Iterable[Batch], paths: SeriesCache[str]) -> list[str]:
    """Return one line of plain text for each sample, its newline included."""
    lines: list[str] = []
    for batch in batches:
        # Carbon stores whole seconds.
        time = int(batch.time)
        lines += [
            f"{path} {value!r} {time if moment is None else int(moment)}\n"
            for path, (_, value, _, moment) in zip(paths.of(batch), batch.samples, strict=True)
        ]
    return lines


def build_paths(*, prefix: str = "", tags: bool = True) -> SeriesCache[str]:
    """Return what makes and remembers the paths of series."""

    def format_path(batch: Batch, sample: Sample) -> str:
        path = _NOT_IN_A_PATH.sub("_", batch.source.dotted)
        if prefix:
            path = f"{prefix.rstrip('.')}.{path}"
        if sample.metric.name is not None:
            path += f".{_NOT_IN_A_PATH.sub('_', sample.metric.name)}"
        labels = {name: value for name, value in batch.labels_of(sample) if value}
        for name, value in (free_names(labels, RESERVED_TAGS) if tags else labels).items():
            path += _format_tag(name, value) if tags else _format_levels(name, value)
        return path

    return SeriesCache(format_path)


def _format_tag(name: str, value: str) -> str:
    # A value that begins with a tilde would be taken for a pattern.
    value = _NOT_IN_A_TAG_VALUE.sub("_", value).lstrip("~") or "_"
    return f";{_NOT_IN_A_TAG_NAME.sub('_', name) or '_'}={value}"


def _format_levels(name: str, value: str) -> str:
    return f".{_NOT_IN_A_LEVEL.sub('_', name) or '_'}.{_NOT_IN_A_LEVEL.sub('_', value)}"


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
