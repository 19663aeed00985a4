"""Writer `Otel`: every sample as an OTLP data point, one HTTP request per tick.

Protocol: OTLP 1.x over HTTP with binary protobuf, https://opentelemetry.io/docs/specs/otlp/.
Without a config key everything comes from the standard `OTEL_*` variables. Needs the extra `otel`.
"""

import os
from collections.abc import Sequence

from pollect.api import Batch, Rejected, Writer, WriterContext
from pollect_writers import __version__
from pollect_writers.http import HttpRefused, HttpSender, send_parts
from pollect_writers.optional import missing_library
from pollect_writers.otel.payload import (
    Point,
    Starts,
    build_points,
    encode_request,
    encode_series,
)
from pollect_writers.otel.settings import (
    OtelWriterConfig,
    is_disabled,
    read_endpoint,
    read_resource,
)
from pollect_writers.series import SeriesCache

REQUIREMENT = "pollect-writers[otel]"


class OtelWriter(Writer[OtelWriterConfig]):
    """Sends samples to an OpenTelemetry collector."""

    config_type = OtelWriterConfig

    def __init__(self, config: OtelWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._endpoint = read_endpoint(os.environ, config, context.config_dir)
        self._resource = read_resource(os.environ, config)
        self._disabled = is_disabled(os.environ)
        self._sender = HttpSender(self._endpoint, clock=context.clock)
        self._starts: Starts = {}
        self._series = SeriesCache(encode_series)
        self._last_remark = ""

    def target_identity(self) -> tuple[str, ...]:
        return (self._endpoint.url,)

    def open(self) -> None:
        try:
            # Better known to be missing now than at the first sample.
            import opentelemetry.proto.collector.metrics.v1.metrics_service_pb2  # noqa: F401
        except ImportError as error:
            raise missing_library("opentelemetry-proto", REQUIREMENT) from error
        if self._disabled:
            self.log.warning("OTEL_SDK_DISABLED is set: samples are thrown away")

    def write(self, batches: Sequence[Batch]) -> None:
        if self._disabled:
            return
        points, starts = build_points(batches, self._starts, self._series)
        lost, reason = send_parts(points, self._send)
        self._starts.update(starts)
        if lost:
            raise Rejected(reason, lost=lost)

    def close(self) -> None:
        self._sender.close()

    def _send(self, points: Sequence[Point]) -> None:
        request = encode_request(points, self._resource, __version__)
        answer = self._sender.post(request)
        refused, remark = read_partial_success(answer.body)
        if refused:
            raise HttpRefused(f"{self._sender.target}: {remark}", answer, lost=refused)
        if remark and remark != self._last_remark:
            self._last_remark = remark
            self.log.warning("%s remarks: %s", self._sender.target, remark)


def read_partial_success(body: bytes) -> tuple[int, str]:
    """Return how many data points the collector refused, and what it has to say.

    An answer that is not the message of the protocol, some gateways send text, refuses nothing.
    """
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    try:
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return partial.rejected_data_points, partial.error_message
