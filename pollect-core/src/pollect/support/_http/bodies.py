"""What goes out with a request, and the complete answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pollect.errors import BadResponse
from pollect.support._http.connection import Exchange
from pollect.support._http.message import Headers
from pollect.support.urls import redact_url

_QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    #: Where the answer came from, after redirects.
    url: str
    status: int
    #: Case does not matter in a look-up.
    headers: Headers
    #: Decompressed.
    body: bytes
    #: Every request that led here, redirects first, with its times.
    exchanges: tuple[Exchange, ...] = ()
    #: What the headers say, else UTF-8.
    encoding: str = "utf-8"

    def text(self) -> str:
        """Return the body as text; bytes that its encoding does not have become `\\ufffd`."""
        try:
            return self.body.decode(self.encoding, errors="replace")
        except LookupError:  # the server named an encoding that does not exist
            return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """Return the body as JSON; raises `BadResponse` when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            start = self.text()[:_QUOTED_CHARACTERS]
            raise BadResponse(f"{redact_url(self.url)}: expected JSON, got {start!r}") from error


def encode_body(data: bytes | str | Mapping[str, str] | None, document: Any) -> tuple[bytes, str]:
    """Return the body of a request and its media type, empty where it is not ours to say."""
    if isinstance(data, Mapping):
        return urlencode(
            data, doseq=True, errors="replace"
        ).encode(), "application/x-www-form-urlencoded"
    if data is not None:
        return data.encode() if isinstance(data, str) else data, ""
    if document is not None:
        return json.dumps(document, allow_nan=False).encode(), "application/json"
    return b"", ""


def with_query(url: str, params: Mapping[str, str | int | float]) -> str:
    """Return a URL with more in its query."""
    url, hash_mark, fragment = url.partition("#")
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(params, doseq=True, errors='replace')}{hash_mark}{fragment}"


def charset_of(content_type: str) -> str:
    """Return the encoding that a media type names, else UTF-8."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or "utf-8"
    return "utf-8"
