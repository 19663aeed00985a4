"""What the writers that push over HTTP share: their options, one connection, and its errors.

urllib3 is the client: it keeps a connection alive and notices when the server closed it, goes
through proxies, and tells its errors apart. It costs 4 MB more than the bare `http.client` and
17 MB less than an SDK; it is imported when such a writer opens.
"""

import base64
import email.utils
import gzip
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pollect.api import (
    Clock,
    ConfigError,
    Rejected,
    Retryable,
    Seconds,
    Secret,
    WriterConfig,
)
from pollect.support.urls import check_url, redact_url
from pollect_writers.optional import missing_library

if TYPE_CHECKING:
    import urllib3

Compression: TypeAlias = Literal["none", "gzip", "deflate"]

#: The server is busy, restarting, or was too slow: the same request is worth repeating.
BUSY_STATUSES = frozenset({408, 425, 429})
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

_CONNECTION = re.compile(r"^HTTPS?Connection(Pool)?\(.*?\): ")

T = TypeVar("T")


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How to speak TLS with the target, beyond an `https` address."""

    ca: Annotated[
        str | None, Meta(description="PEM file of the authorities to trust; default: the system's.")
    ] = None
    cert: Annotated[str | None, Meta(description="PEM file of the client certificate.")] = None
    key: Annotated[
        str | None, Meta(description="PEM file of its key, when `cert` does not hold it.")
    ] = None
    insecure: Annotated[bool, Meta(description="Do not check the certificate of the target.")] = (
        False
    )


class HttpWriterConfig(WriterConfig, frozen=True, kw_only=True):
    """Options of every writer that pushes over HTTP."""

    timeout: Annotated[
        Seconds | None, Meta(description="Seconds one request may take; default: 10.")
    ] = None
    headers: Annotated[dict[str, Secret], Meta(description="Further headers of every request.")] = (
        msgspec.field(default_factory=dict)
    )
    tls: Annotated[TlsConfig, Meta(description="Certificates, for an `https` address.")] = (
        TlsConfig()
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to push, and how."""

    url: str
    timeout_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    compression: Compression = "none"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False
    #: Statuses for which the data is kept, beyond those of a busy server and all from 500 on.
    retried_statuses: frozenset[int] = frozenset()


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
    retried_statuses: frozenset[int] = frozenset(),
) -> Endpoint:
    """Return the endpoint at `url`; headers of the config win over `headers`.

    Raises `ConfigError` when `url` is no address.
    """

    def find(file: str | None) -> Path | None:
        return None if file is None else config_dir / file

    return Endpoint(
        url=check_url(url, credentials=False),
        timeout_seconds=config.timeout or DEFAULT_TIMEOUT_SECONDS,
        headers={**headers, **{name: value.reveal() for name, value in config.headers.items()}},
        compression=compression,
        ca=find(config.tls.ca),
        cert=find(config.tls.cert),
        key=find(config.tls.key),
        insecure=config.tls.insecure,
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

    def __init__(self, endpoint: Endpoint, *, clock: Clock, requirement: str) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._requirement = requirement
        self._pool: urllib3.PoolManager | None = None
        #: How the target appears in messages.
        self.target = redact_url(endpoint.url)

    def open(self) -> None:
        """Prepare the connection without making it; raises `MissingDependency`, `Retryable`."""
        if self._pool is None:
            self._pool = self._build_pool()

    def post(self, body: bytes, *, url: str | None = None) -> Answer:
        """Send one request; the answer has a status below 300.

        Raises `Retryable` when the server is away, busy or late, and `HttpRefused` when it does
        not want the request.
        """
        endpoint = self._endpoint
        headers = dict(endpoint.headers)
        if endpoint.compression == "gzip":
            body = gzip.compress(body, _GZIP_LEVEL)
        elif endpoint.compression == "deflate":
            body = zlib.compress(body, _GZIP_LEVEL)
        if endpoint.compression != "none":
            headers["Content-Encoding"] = endpoint.compression
        answer, retry_after = self._exchange(url or endpoint.url, body, headers)
        if answer.status < 300:
            return answer
        message = f"{self.target} answered {answer.status}: {answer.quote}"
        if (
            answer.status >= 500
            or answer.status in BUSY_STATUSES
            or answer.status in endpoint.retried_statuses
        ):
            raise Retryable(message, retry_after=self._parse_retry_after(retry_after))
        raise HttpRefused(message, answer)

    def close(self) -> None:
        """Close the connection; the next `post` makes a new one."""
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def _build_pool(self) -> "urllib3.PoolManager":
        try:
            import urllib3
        except ImportError as error:
            raise missing_library("urllib3", self._requirement) from error
        endpoint = self._endpoint
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(total=endpoint.timeout_seconds),
            "retries": False,
            "maxsize": 1,
        }
        if endpoint.url.startswith("https:"):
            options["ssl_context"] = self._build_tls_context()
        if endpoint.insecure:
            # Whoever sets `insecure` knows; a warning with every request would say nothing new.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        proxy = _find_proxy(endpoint.url)
        if proxy:
            return urllib3.ProxyManager(proxy, **options)
        return urllib3.PoolManager(**options)

    def _exchange(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[Answer, str | None]:
        self._pool = pool = self._pool or self._build_pool()
        import urllib3

        # Real time, as that of the sockets is, whatever clock the engine goes by.
        deadline = time.monotonic() + self._endpoint.timeout_seconds
        try:
            response = pool.request("POST", url, body=body, headers=headers, preload_content=False)
            try:
                text = self._read_answer(response, deadline)
            except BaseException:
                response.close()
                raise
            if response.length_remaining:
                response.close()
            else:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise Retryable(f"{self.target}: {_describe(error)}") from error
        return Answer(response.status, text), response.headers.get("Retry-After")

    def _read_answer(self, response: "urllib3.BaseHTTPResponse", deadline: float) -> bytes:
        text = b""
        while len(text) < _ANSWER_LIMIT_BYTES:
            part = response.read1(_ANSWER_LIMIT_BYTES)
            if not part:
                break
            text += part
            if time.monotonic() > deadline:
                raise Retryable(f"{self.target} did not finish its answer in time")
        return text

    def _build_tls_context(self) -> Any:
        import ssl

        endpoint = self._endpoint
        try:
            context = ssl.create_default_context(cafile=endpoint.ca)
            if endpoint.cert is not None:
                context.load_cert_chain(endpoint.cert, endpoint.key)
        except OSError as error:  # SSLError is one; a certificate may be put in place later
            files = ", ".join(
                str(file) for file in (endpoint.ca, endpoint.cert, endpoint.key) if file
            )
            raise Retryable(f"cannot use the certificates {files}: {error}") from error
        if endpoint.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _parse_retry_after(self, text: str | None) -> float | None:
        if text is None:
            return None
        if text.strip().isdigit():
            return float(text)
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - self._clock.time())


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


def _find_proxy(url: str) -> str | None:
    import urllib.request  # half an HTTP client: only for those who open a connection

    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _describe(error: Exception) -> str:
    """Return the words of an error of urllib3, without the connection it begins with."""
    return _CONNECTION.sub("", str(error)) or type(error).__name__
