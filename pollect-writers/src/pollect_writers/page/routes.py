"""Which request gets which part of the page."""

import threading
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from pollect.api import ProbeError, WriterContext
from pollect.support.http_server import Request, Response
from pollect_writers.page.assets import CONTENT_TYPES, FOLDER, read_asset
from pollect_writers.page.urls import source_url

_HTML = "text/html; charset=utf-8"
_JSON = "application/json; charset=utf-8"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
#: The name of an asset changes with its content.
_KEEP = {"Cache-Control": "private, max-age=604800", "X-Content-Type-Options": "nosniff"}
_PROBE = f"/{FOLDER}probe"
#: What may be done at the one address that changes something.
POSTING = ("OPTIONS", "POST")
#: Probes that browsers may wait for at the same time; each keeps a thread of the server.
_MOST_PROBES = 4


class Page:
    """Answers what a browser asks of the page of one writer."""

    def __init__(self, context: WriterContext, *, read_only: bool) -> None:
        self._context = context
        self._read_only = read_only
        self._probing = threading.BoundedSemaphore(_MOST_PROBES)

    def takes(self, request: Request) -> bool:
        """Whether a request asks for a probe, which only a POST may."""
        return request.path == _PROBE

    def answer(self, request: Request, *, any_client: bool = False) -> Response | None:
        """Return the answer; None for what is not of the page.

        At `/` only browsers get it, unless `any_client`.
        """
        path = request.path
        if path == "/" and (any_client or "text/html" in request.headers.get("accept", "")):
            return self._html(_first(request.query, "source"))
        if path == "/status.json":
            return self._json(_first(request.query, "source"))
        if path == _PROBE:
            return self._probe(request)
        name = path.removeprefix(f"/{FOLDER}")
        if path != name and name in CONTENT_TYPES:
            return Response(read_asset(name), CONTENT_TYPES[name], headers=_KEEP)
        return None

    def _html(self, source: str | None) -> Response | None:
        # Only for those who look at it.
        if source is not None:
            from pollect_writers.page.detail import detail_page

            detail = self._context.source_detail(source)
            if detail is None:
                return _unknown()
            text = detail_page(detail, read_only=self._read_only)
        else:
            from pollect_writers.page.overview import overview_page

            status = self._context.status()
            if status is None:  # no daemon around this writer
                return None
            text = overview_page(status)
        return Response(text.encode("utf-8", "replace"), _HTML, headers=_HEADERS)

    def _json(self, source: str | None) -> Response:
        found = self._context.status() if source is None else self._context.source_detail(source)
        if found is None:
            return _unknown()
        return Response(msgspec.json.encode(found), _JSON, headers=_HEADERS)

    def _probe(self, request: Request) -> Response:
        if self._read_only:
            return _refusal(HTTPStatus.FORBIDDEN, "this page is read-only")
        if not is_same_origin(request.headers):
            return _refusal(HTTPStatus.FORBIDDEN, "only the page itself may ask for a probe")
        source = _first(request.query, "source") or ""
        if not self._probing.acquire(blocking=False):
            return _refusal(HTTPStatus.TOO_MANY_REQUESTS, "other probes are still running")
        try:
            known = self._context.probe_now(source)
        except ProbeError as error:
            return _refusal(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        finally:
            self._probing.release()
        if not known:
            return _unknown()
        headers = {**_HEADERS, "Location": f"../{source_url(source)}"}
        return Response(b"", status=HTTPStatus.SEE_OTHER, headers=headers)


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of this endpoint; every browser says so in a POST."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # sent over HTTPS and to this host itself
        return site == "same-origin"
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _first(query: Mapping[str, object], name: str) -> str | None:
    found = query.get(name)
    return str(found[0]) if isinstance(found, list) and found else None


def _unknown() -> Response:
    return _refusal(HTTPStatus.NOT_FOUND, "no such source on this page")


def _refusal(status: HTTPStatus, text: str) -> Response:
    return Response(f"{text}\n".encode("utf-8", "replace"), status=status, headers=_HEADERS)
