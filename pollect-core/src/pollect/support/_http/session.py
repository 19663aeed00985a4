"""Our connections below a session of requests that another library made."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from pollect.support._http.connection import Answer


class LimitedAdapter(BaseAdapter):
    """Sends the requests of a session by `send`, which keeps the limits and raises the errors."""

    def __init__(
        self,
        send: Callable[[str, str, Mapping[str, str], bytes], Answer],
        close: Callable[[], None],
    ) -> None:
        super().__init__()
        self._send = send
        self._close = close

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Return the answer with its body in memory; the limits of the library do not count."""
        body: Any = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        answer = self._send(
            request.method or "GET",
            request.url or "",
            {name: _text(value) for name, value in request.headers.items()},
            body.encode() if isinstance(body, str) else bytes(body),
        )
        return self._translated(request, answer)

    def close(self) -> None:
        """Close the connections."""
        self._close()

    def _translated(self, request: requests.PreparedRequest, answer: Answer) -> requests.Response:
        head = answer.head
        response: Any = requests.Response()  # some of what is set below is private there
        response.status_code = head.status
        response.headers = CaseInsensitiveDict(head.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.url = request.url or ""
        response.request = request
        response._content = answer.body
        response._content_consumed = True
        response.connection = self
        # What requests looks for where it takes cookies from an answer.
        response.raw = SimpleNamespace(_original_response=SimpleNamespace(msg=head.headers))
        take_cookies: Any = extract_cookies_to_jar
        take_cookies(response.cookies, request, response.raw)
        return response  # type: ignore[no-any-return]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
