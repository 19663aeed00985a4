"""What Prometheus asks for beside the metrics: `/probe` for one target, `/sd` for all of them.

`/probe?target=...&module=...` is what blackbox_exporter and snmp_exporter answer, with
`probe_success` and `probe_duration_seconds` as there. `/sd` is HTTP SD of the Prometheus
documentation.
"""

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus

import msgspec

from pollect.api import Metric, ProbeAnswer, ProbesOnDemand, TargetGroup
from pollect.support.http_server import Pending, Request, Response
from pollect_writers.prometheus.exposition import Block, Renderer
from pollect_writers.prometheus.families import Family

#: Of the seconds that a scraper waits, so many are for the way there and back.
OFFSET_SECONDS = 0.5
_TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"
_STATUSES = {
    "unknown": HTTPStatus.BAD_REQUEST,
    "forbidden": HTTPStatus.FORBIDDEN,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
_SUCCESS = Family("probe_success", Metric("success", help="Whether the probe was a success."))
_DURATION = Family(
    "probe_duration_seconds",
    Metric("duration_seconds", help="Seconds until the probe was complete.", unit="seconds"),
)

#: Makes the answer of blocks, in the format that a request wants.
Render = Callable[[Sequence[Block]], Response]


def probe(request: Request, probes: ProbesOnDemand, render: Render) -> Response | Pending:
    """Answer a request for a probe."""
    target, module = _only(request, "target"), _only(request, "module")
    if not target:
        return _refusal(HTTPStatus.BAD_REQUEST, "name one target, as in ?target=HOST&module=MODULE")
    if not module:
        names = ", ".join(probes.modules)
        return _refusal(HTTPStatus.BAD_REQUEST, f"name one module, there are: {names}")
    try:
        seconds = seconds_for(request.headers.get(_TIMEOUT_HEADER))
    except ValueError as error:
        return _refusal(HTTPStatus.BAD_REQUEST, str(error))

    def begin(send: Callable[[Response], None]) -> None:
        probes.probe(module, target, seconds, lambda answer: send(_answer(answer, render)))

    return Pending(begin)


def seconds_for(header: str | None) -> float | None:
    """Return the seconds that a probe may take, of those that the scraper waits; None for no word.

    >>> seconds_for("10"), seconds_for("0.6"), seconds_for(None)
    (9.5, 0.3, None)
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"expected seconds above 0 as scrape timeout, got {header[:40]!r}")
    return max(seconds - OFFSET_SECONDS, seconds / 2)


def discovery(groups: Sequence[TargetGroup]) -> Response:
    """Return the targets as Prometheus reads them."""
    listed = [{"targets": group.targets, "labels": group.labels} for group in groups]
    return Response(msgspec.json.encode(listed), "application/json")


def _only(request: Request, name: str) -> str:
    """Return a parameter that is there once, empty if it is not."""
    found = request.query.get(name, ())
    return found[0] if len(found) == 1 else ""


def _answer(answer: ProbeAnswer, render: Render) -> Response:
    if answer.refused:
        headers = {"Retry-After": "1"} if answer.refused == "busy" else {}
        return _refusal(_STATUSES[answer.refused], answer.problem, headers)
    block: Block = []
    if answer.batch is not None:
        renderer = Renderer(answer.batch.source)
        block = renderer.render(answer.batch.samples, answer.batch.static_labels)[0]
    own = [
        (_SUCCESS, b"\nprobe_success %r" % float(answer.success)),
        (_DURATION, b"\nprobe_duration_seconds %r" % answer.duration_seconds),
    ]
    return render([block, own])


def _refusal(status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{text}\n".encode("utf-8", "replace"), status=status, headers=headers or {})
