"""What the writers that push over HTTP share: their options, one connection, and its errors.

The client is `pollect.support.http`, with its rules for URLs, proxies, TLS and time limits.
"""

import base64
import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from pollect.api import (
    Clock,
    ConfigError,
    ProbeError,
    Rejected,
    Retryable,
    Seconds,
    Secret,
    WriterConfig,
)
from pollect.support.http import HttpClient
from pollect.support.http_fields import parse_retry_after
from pollect.support.options import ClientTls, TlsFiles
from pollect.support.urls import check_url, redact_url

Compression: TypeAlias = Literal["none", "gzip", "deflate"]

#: The server is busy, restarting, or was too slow: the same request is worth repeating.
BUSY_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
#: The request goes to the wrong place or with the wrong credentials; the data is fine.
WRONG_ADDRESS_STATUSES = frozenset({301, 302, 307, 308, 401, 403, 404, 405, 407})
TOO_LARGE = 413

DEFAULT_TIMEOUT_SECONDS = 10.0
#: Enough for every error text; more is not read.
_ANSWER_LIMIT_BYTES = 65_536
_QUOTED_CHARACTERS = 200
#: Levels above 1 cost ten times the CPU for a few per cent less.
_GZIP_LEVEL = 1
#: Requests that one delivery may take when the target refuses a part of it.
_PARTS_LIMIT = 32

T = TypeVar("T")


class HttpWriterConfig(WriterConfig, frozen=True, kw_only=True):
    """Options of every writer that pushes over HTTP."""

    timeout: Annotated[
        Seconds | None, Meta(description="Seconds one request may take; default: 10.")
    ] = None
    headers: Annotated[dict[str, Secret], Meta(description="Further headers of every request.")] = (
        msgspec.field(default_factory=dict)
    )
    tls: Annotated[ClientTls, Meta(description="Certificates, for an `https` address.")] = (
        ClientTls()
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to push, and how."""

    url: str
    timeout_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    compression: Compression = "none"
    tls: TlsFiles = field(default_factory=lambda: ClientTls().files(Path()))
    #: Statuses for which the data is kept and sent again.
    retried_statuses: frozenset[int] = BUSY_STATUSES


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: its status and the beginning of its body."""

    status: int
    body: bytes

    @property
    def quote(self) -> str:
        """The first words of the body, fit for one line of a log."""
        return " ".join(self.body.decode(errors="replace").split())[:_QUOTED_CHARACTERS]


class HttpRefused(Rejected):
    """The server does not take this request, or `lost` items of it; `answer` is what it said."""

    def __init__(self, message: str, answer: Answer, *, lost: int | None = None) -> None:
        super().__init__(message, lost=lost)
        self.answer = answer


def build_endpoint(
    config: HttpWriterConfig,
    url: str,
    config_dir: Path,
    headers: Mapping[str, str],
    *,
    compression: Compression = "none",
    retried_statuses: frozenset[int] = BUSY_STATUSES,
) -> Endpoint:
    """Return the endpoint at `url`; headers of the config win over `headers`.

    Raises `ConfigError` when `url` is incomplete or holds credentials.
    """
    return Endpoint(
        url=check_url(url, credentials=False),
        timeout_seconds=config.timeout or DEFAULT_TIMEOUT_SECONDS,
        headers={**headers, **{name: value.reveal() for name, value in config.headers.items()}},
        compression=compression,
        tls=config.tls.files(config_dir),
        retried_statuses=retried_statuses,
    )


def build_authorization(
    user: str | None, password: Secret | None, token: Secret | None, *, scheme: str = "Bearer"
) -> dict[str, str]:
    """Return the header for a token or a user, or none; raises `ConfigError` for both."""
    if token and user:
        raise ConfigError("expected a token or a user, got both", key="token")
    if token:
        return {"Authorization": f"{scheme} {token.reveal()}"}
    if user:
        pair = f"{user}:{password.reveal() if password else ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


class HttpSender:
    """One kept-alive connection to one endpoint. Used by one thread at a time."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._client = HttpClient(
            timeout=endpoint.timeout_seconds,
            headers=endpoint.headers,
            max_body_bytes=_ANSWER_LIMIT_BYTES,
            cut_body=True,
            **endpoint.tls,
        )
        #: How the target appears in messages.
        self.target = redact_url(endpoint.url)

    def post(self, body: bytes, *, url: str | None = None) -> Answer:
        """Send one request; the answer has a status below 300.

        Raises `Retryable` when the server is away, busy or late, and `HttpRefused` when it does
        not want the request.
        """
        endpoint = self._endpoint
        headers = {}
        if endpoint.compression == "gzip":
            body = gzip.compress(body, _GZIP_LEVEL)
        elif endpoint.compression == "deflate":
            body = zlib.compress(body, _GZIP_LEVEL)
        if endpoint.compression != "none":
            headers["Content-Encoding"] = endpoint.compression
        try:
            response = self._client.post(
                url or endpoint.url,
                data=body,
                headers=headers,
                statuses=None,
                follow_redirects=False,
            )
        except ProbeError as error:
            raise Retryable(str(error)) from error
        answer = Answer(response.status, response.body)
        if answer.status < 300:
            return answer
        message = f"{self.target} answered {answer.status}: {answer.quote}"
        if answer.status in endpoint.retried_statuses:
            raise Retryable(
                message, retry_after=self._parse_retry_after(response.headers.get("Retry-After"))
            )
        raise HttpRefused(message, answer)

    def close(self) -> None:
        """Close the connection; the next `post` makes a new one."""
        self._client.close()

    def _parse_retry_after(self, text: str | None) -> float | None:
        return parse_retry_after(text or "", self._clock.time())


def send_parts(
    items: Sequence[T],
    send: Callable[[Sequence[T]], None],
    *,
    divided_statuses: frozenset[int] = frozenset({TOO_LARGE}),
) -> tuple[int, str]:
    """Send `items`, halving a request that the server refuses as a whole.

    `send` raises `HttpRefused`. A refusal with one of `divided_statuses` is tried again in
    halves, so that one bad item, or a request that is too large, does not take the others away;
    the number of requests stays bounded. Returns how many items are lost, and why.
    """
    lost, reason, requests = 0, "", 0
    waiting = [items] if items else []
    while waiting:
        part = waiting.pop()
        requests += 1
        try:
            send(part)
        except HttpRefused as error:
            reason = str(error)
            divisible = len(part) > 1 and error.answer.status in divided_statuses
            if error.lost is not None:
                lost += min(error.lost, len(part))
            elif divisible and requests + len(waiting) < _PARTS_LIMIT:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                lost += len(part)
    return lost, reason
