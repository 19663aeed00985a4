"""The metrics of the source `Http`, for one URL and with the URL as a label."""

import enum
from typing import Any, NamedTuple

from pollect.api import DETAIL, MOMENT, YES_IS_BAD, YES_IS_GOOD, YES_NO, Headline, Metric, Panel
from pollect_sources_network.results import result_panel

PHASES = ("resolve", "connect", "tls", "processing", "transfer")


class ResultCode(enum.IntEnum):
    """How a check ended."""

    SUCCESS = 0
    BODY_MISMATCH = 1
    BODY_READ_ERROR = 2
    CONNECTION_FAILED = 3
    TIMEOUT = 4
    DNS_ERROR = 5
    STATUS_MISMATCH = 6
    TLS_ERROR = 7


class HttpMetrics(NamedTuple):
    response_time: Metric
    success: Metric
    result_code: Metric
    phase: Metric
    status_code: Metric
    redirects: Metric
    content_length: Metric
    body_bytes: Metric
    http_version: Metric
    ssl: Metric
    cert_expiry: Metric
    tls_version: Metric
    ip_protocol: Metric
    last_modified: Metric
    failed_regex: Metric


def declare(*labels: str) -> HttpMetrics:
    def metric(name: str | None, help: str, unit: str = "", *more: str, **hints: Any) -> Metric:
        return Metric(name, help=help, unit=unit, labels=(*labels, *more), **hints)

    return HttpMetrics(
        response_time=metric(
            None,
            "Time from the start of the request to the complete body in milliseconds, redirects "
            "included; the time limit when the check failed.",
            "milliseconds",
            headline=Headline("response time"),
        ),
        success=metric(
            "success",
            "1 when the answer was as expected, 0 when not.",
            headline=Headline("ok"),
            panel=YES_IS_GOOD,
        ),
        result_code=metric(
            "result_code",
            "How the check ended: 0 success, 1 body does not match, 2 body unreadable, 3 no "
            "connection, 4 timed out, 5 name not resolved, 6 wrong status, 7 TLS failed.",
            panel=result_panel(ResultCode),
        ),
        phase=metric(
            "phase_seconds",
            "Seconds spent per phase, summed over redirects: resolve, connect, tls, processing "
            "(until the first byte of the answer) and transfer.",
            "seconds",
            "phase",
            panel=DETAIL,
        ),
        status_code=metric(
            "status_code",
            "Status of the answer, 0 when there was none.",
            headline=Headline("status"),
            panel=DETAIL,
        ),
        redirects=metric("redirects", "Number of redirects followed.", panel=DETAIL),
        content_length=metric(
            "content_length",
            "Content-Length of the answer in bytes, -1 if unknown.",
            "bytes",
            panel=DETAIL,
        ),
        body_bytes=metric(
            "body_bytes", "Size of the body in bytes, decompressed.", "bytes", panel=DETAIL
        ),
        http_version=metric(
            "http_version", "Version of HTTP the server answered with.", panel=DETAIL
        ),
        ssl=metric(
            "ssl",
            "1 when the final answer came over TLS, 0 when not.",
            panel=YES_NO.needing("details"),
        ),
        cert_expiry=metric(
            "ssl_earliest_cert_expiry",
            "Unix time in seconds when the first certificate of the chain expires.",
            "seconds",
            panel=MOMENT.needing("details"),
        ),
        tls_version=metric(
            "tls_version_info",
            "Always 1; the label has the TLS version.",
            "",
            "version",
            panel=DETAIL,
        ),
        ip_protocol=metric("ip_protocol", "4 or 6, the version of IP that was used.", panel=DETAIL),
        last_modified=metric(
            "last_modified",
            "Last-Modified of the answer as Unix time in seconds.",
            "seconds",
            panel=Panel(moment=True, sometimes=True, needs=("details",)),
        ),
        failed_regex=metric(
            "failed_due_to_regex",
            "1 when the body did not match as asked for, 0 when it did.",
            panel=YES_IS_BAD.needing("details", "match|not_match"),
        ),
    )


ONE_URL = declare()
BY_URL = declare("url")
