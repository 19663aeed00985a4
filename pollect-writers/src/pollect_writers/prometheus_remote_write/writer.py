"""Writer `PrometheusRemoteWrite`: pushes to Prometheus, VictoriaMetrics, Mimir and their like.

Protocol: Remote-Write 1.0, https://prometheus.io/docs/specs/prw/remote_write_spec/: a snappy
block with a protobuf message by HTTP POST. Prometheus itself takes it when started with
`--web.enable-remote-write-receiver`. Needs the extra `remote-write`.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from pollect.api import Batch, Rejected, Secret, Writer, WriterContext
from pollect_writers import __version__
from pollect_writers.http import (
    TOO_LARGE,
    HttpSender,
    HttpWriterConfig,
    build_authorization,
    build_endpoint,
    send_parts,
)
from pollect_writers.optional import missing_library
from pollect_writers.prometheus_remote_write.payload import (
    Known,
    Point,
    build_points,
    encode_labels,
    encode_request,
)
from pollect_writers.series import SeriesCache

REQUIREMENT = "pollect-writers[remote-write]"

#: Prometheus refuses a request as a whole for one sample that is too old: found by halving.
_DIVIDED_STATUSES = frozenset({400, TOO_LARGE})
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": f"pollect/{__version__}",
}


class PrometheusRemoteWriteWriterConfig(HttpWriterConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Full address, path included.")] = (
        "http://localhost:9090/api/v1/write"
    )
    user: Annotated[str | None, Meta(description="User of basic authentication.")] = None
    password: Annotated[Secret | None, Meta(description="Its password.")] = None
    token: Annotated[Secret | None, Meta(description="Bearer token, instead of a user.")] = None


class PrometheusRemoteWriteWriter(Writer[PrometheusRemoteWriteWriterConfig]):
    """Pushes samples to a Prometheus server, and marks the series that end."""

    config_type = PrometheusRemoteWriteWriterConfig

    def __init__(self, config: PrometheusRemoteWriteWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        headers = {**_HEADERS, **build_authorization(config.user, config.password, config.token)}
        endpoint = build_endpoint(config, config.url, context.config_dir, headers)
        self._sender = HttpSender(endpoint, clock=context.clock)
        self._known: Known = {}
        self._encoded = SeriesCache(encode_labels)

    def target_identity(self) -> tuple[str, ...]:
        return (self.config.url,)

    def open(self) -> None:
        try:
            import cramjam  # noqa: F401  better known now than at the first sample
        except ImportError as error:
            raise missing_library("cramjam", REQUIREMENT) from error

    def write(self, batches: Sequence[Batch]) -> None:
        points, series, outdated = build_points(batches, self._known, self._encoded)
        lost, reason = send_parts(points, self._send, divided_statuses=_DIVIDED_STATUSES)
        self._known.update(series)
        if lost or outdated:
            reason = reason or "samples not later than the last one of their series"
            samples = sum(map(len, batches))  # stale markers are points, but no loss
            raise Rejected(reason, lost=min(lost + outdated, samples))

    def close(self) -> None:
        self._sender.close()

    def _send(self, points: Sequence[Point]) -> None:
        import cramjam

        self._sender.post(bytes(cramjam.snappy.compress_raw(encode_request(points))))
