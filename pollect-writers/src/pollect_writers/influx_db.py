"""Writer `InfluxDb`: InfluxDB 1, 2 and 3, and what speaks their line protocol.

Protocol: line protocol by HTTP POST, https://docs.influxdata.com/influxdb/v2/reference/syntax/.
Versions differ in the path, in the name of the database and in the word before the token.
Times are in milliseconds. Needs no library.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from msgspec import Meta

from pollect.api import (
    Batch,
    ConfigError,
    Rejected,
    Sample,
    Secret,
    Writer,
    WriterContext,
)
from pollect.support.urls import check_base_url
from pollect_writers.http import (
    BUSY_STATUSES,
    WRONG_ADDRESS_STATUSES,
    Compression,
    HttpRefused,
    HttpSender,
    HttpWriterConfig,
    build_authorization,
    build_endpoint,
    send_parts,
)
from pollect_writers.names import filled_labels, free_name, free_names, prometheus_base_name
from pollect_writers.series import SeriesCache

#: The field of a value without a name of its own.
UNNAMED_FIELD = "value"

_MILLISECONDS = 1000
_DROPPED = re.compile(r"dropped=(\d+)")
_KEY_ESCAPES = str.maketrans(
    {
        **dict.fromkeys(map(chr, (*range(0x20), *range(0x7F, 0xA0))), r"\ "),
        ",": r"\,",
        " ": r"\ ",
        "=": r"\=",
        "\r": "",
    }
)
#: Names of tags and fields that belong to the server; it drops points that use some of them.
RESERVED = frozenset({"time", "_time", "_field", "_measurement"})


class InfluxDbWriterConfig(HttpWriterConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Address of the server, without a path.")] = (
        "http://localhost:8086"
    )
    version: Annotated[
        Literal[1, 2, 3], Meta(description="Version of the API, the first figure of the server's.")
    ] = 2
    database: Annotated[
        str | None, Meta(description="Database to write to (versions 1 and 3).")
    ] = None
    retention_policy: Annotated[
        str | None, Meta(description="Retention policy; default: the database's (version 1).")
    ] = None
    bucket: Annotated[str | None, Meta(description="Bucket to write to (version 2).")] = None
    org: Annotated[str | None, Meta(description="Organisation of the bucket (version 2).")] = None
    token: Annotated[Secret | None, Meta(description="API token (versions 2 and 3).")] = None
    user: Annotated[str | None, Meta(description="User of basic authentication (version 1).")] = (
        None
    )
    password: Annotated[Secret | None, Meta(description="Its password.")] = None
    compression: Annotated[Compression, Meta(description="How to compress.")] = "gzip"


class InfluxDbWriter(Writer[InfluxDbWriterConfig]):
    """Writes samples to an InfluxDB server."""

    config_type = InfluxDbWriterConfig

    def __init__(self, config: InfluxDbWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        scheme = "Token" if config.version == 2 else "Bearer"
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            **build_authorization(config.user, config.password, config.token, scheme=scheme),
        }
        self._endpoint = build_endpoint(
            config,
            check_base_url(config.url, credentials=False) + build_path(config),
            context.config_dir,
            headers,
            compression=config.compression,
            # A database or token that does not exist yet is worth waiting for.
            retried_statuses=BUSY_STATUSES | WRONG_ADDRESS_STATUSES,
        )
        self._starts = SeriesCache(format_start)
        self._sender = HttpSender(self._endpoint, clock=context.clock)

    def target_identity(self) -> tuple[str, ...]:
        return (self._endpoint.url,)

    def write(self, batches: Sequence[Batch]) -> None:
        lines = build_lines(batches, self._starts)
        lost, reason = send_parts(lines, self._send)
        if lost:
            raise Rejected(reason, lost=lost)

    def close(self) -> None:
        self._sender.close()

    def _send(self, lines: Sequence[str]) -> None:
        try:
            self._sender.post("\n".join(lines).encode())
        except HttpRefused as error:
            error.lost = count_refused(error.answer.body.decode(errors="replace"))
            raise


def build_path(config: InfluxDbWriterConfig) -> str:
    """Return path and query of the version; raises `ConfigError` when its option is missing."""
    if config.version == 2:
        if not config.bucket:
            raise ConfigError("expected the name of a bucket for version 2", key="bucket")
        query = {"bucket": config.bucket, "precision": "ms"}
        if config.org:
            query["org"] = config.org
        return f"/api/v2/write?{urlencode(query)}"
    if not config.database:
        raise ConfigError(
            f"expected the name of a database for version {config.version}", key="database"
        )
    if config.version == 3:
        query = {"db": config.database, "precision": "millisecond"}
        return f"/api/v3/write_lp?{urlencode(query)}"
    query = {"db": config.database, "precision": "ms"}
    if config.retention_policy:
        query["rp"] = config.retention_policy
    return f"/write?{urlencode(query)}"


def build_lines(batches: Iterable[Batch], starts: SeriesCache[str] | None = None) -> list[str]:
    """Return one line for each sample, so that every refused line is one lost sample.

    The server joins lines with the same measurement, tags and time into one point. `starts`
    remembers what `format_start` made of each series.
    """
    starts = starts or SeriesCache(format_start)
    lines: list[str] = []
    for batch in batches:
        time = round(batch.time * _MILLISECONDS)
        # Always a float: a field that was written as an integer once refuses floats from then on.
        lines += [
            f"{start}{float(value)!r} {time if moment is None else round(moment * _MILLISECONDS)}"
            for start, (_, value, _, moment) in zip(starts.of(batch), batch.samples, strict=True)
        ]
    return lines


def format_start(batch: Batch, sample: Sample) -> str:
    """Return the line of a series up to its value: measurement, tags and the name of the field."""
    labels = free_names(filled_labels(batch, sample), RESERVED)
    tags = "".join(f",{name}={escape(value)}" for name, value in sorted(labels.items()))
    field = escape(free_name(sample.metric.name or UNNAMED_FIELD, RESERVED))
    return f"{prometheus_base_name(batch.source)}{tags} {field}="


def count_refused(answer: str) -> int | None:
    """Return how many lines a server of any version refused; None for all of them.

    Versions 1 and 2 write a sentence, `partial write: <reason> dropped=<n>`; version 3 writes JSON
    with an object for each refused line.
    """
    if "partial write" not in answer:
        return None
    dropped = sum(int(number) for number in _DROPPED.findall(answer))
    return dropped + answer.count("unable to parse") + answer.count('"line_number"')


def escape(text: str) -> str:
    """Escape a tag value or a field key; a backslash at the end would escape what follows."""
    return text.rstrip("\\").translate(_KEY_ESCAPES) or "_"
