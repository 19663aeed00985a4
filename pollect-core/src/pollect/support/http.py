"""HTTP client for sources: one total time limit, a body limit, and pollect's own errors.

It stands on `requests` (extra `http` of `pollect-core`), which is imported when the first
`HttpClient` is built, so build it in `open()`::

    def open(self) -> None:
        self._client = HttpClient(timeout=self.config.timeout or 10.0, token=self.config.token)

    def probe(self) -> Iterable[Sample]:
        return parse_status(self._client.get_json(f"http://{self.config.host}/status"))

    def close(self) -> None:
        self._client.close()

What goes wrong arrives as `TargetUnavailable` (no connection, no answer in time),
`AuthenticationFailed` (status 401, 403, 407) or `BadResponse`. Their texts name the URL without
user information and without the values of the query, since both may hold secrets. A device that
means something else by a status says so::

    HttpClient(status_errors={403: TargetUnavailable})  # this one answers 403 while it starts
"""

import json
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pollect.errors import (
    AuthenticationFailed,
    BadResponse,
    MissingDependency,
    ProbeError,
    TargetUnavailable,
)
from pollect.plugin import Secret
from pollect.support.urls import redact_url

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    import requests

    from pollect.support._http_transport import Exchange

DEFAULT_TIMEOUT_SECONDS = 10.0
MAX_BODY_BYTES = 10 * 1024 * 1024
#: What requests and 1.x allow.
MAX_REDIRECTS = 30

SUCCESS = range(200, 300)
UNAUTHORIZED = (401, 403, 407)

#: What a status means to a source: takes the text of the error and returns the error.
StatusErrors: TypeAlias = Mapping[int, Callable[[str], ProbeError]]

_STATUS_ERRORS: StatusErrors = dict.fromkeys(UNAUTHORIZED, AuthenticationFailed)

_CHUNK_BYTES = 64 * 1024
_QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    #: Where the answer came from, after redirects.
    url: str
    status: int
    #: Case does not matter in a look-up.
    headers: Mapping[str, str]
    #: Decompressed.
    body: bytes
    #: Every request that led here, redirects first, with its times.
    exchanges: tuple["Exchange", ...] = ()
    #: What the headers say, else UTF-8.
    encoding: str = "utf-8"

    def text(self) -> str:
        """Return the body as text; what is no text in its encoding becomes `\\ufffd`."""
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


class HttpClient:
    """A session with one or more HTTP servers: connections and cookies are kept.

    Timeouts are in seconds. `timeout` limits a request as a whole, with name resolution
    excepted: connecting to any of the addresses, redirects, and the last byte of the body;
    a server that sends a byte now and then does not get around it. `connect_timeout` limits
    connecting and the TLS handshake within it, `read_timeout` every wait for the next bytes.

    Without `user` and `token` the credentials in the URL count, else those of `~/.netrc` (or what
    `NETRC` names) for the host.

    `verify` is False for devices with a certificate of their own making; `ca_file` replaces the
    trusted authorities. Without it `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` count, then what
    OpenSSL trusts (`SSL_CERT_FILE`, `SSL_CERT_DIR`, the system).

    `proxy`: None takes it from the environment, the empty text means none at all.

    Raises `MissingDependency` when requests is not installed.
    """

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        user: str = "",
        password: Secret | str = "",
        digest: bool = False,
        token: Secret | str | None = None,
        verify: bool = True,
        ca_file: Path | None = None,
        client_cert: Path | None = None,
        client_key: Path | None = None,
        server_name: str = "",
        proxy: str | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_redirects: int = MAX_REDIRECTS,
        ip_version: int | None = None,
        keep_alive: bool = True,
        status_errors: StatusErrors | None = None,
    ) -> None:
        """Build the session; opens no connection.

        `user` and `password` are sent as basic or, with `digest`, as digest authentication,
        `token` as a bearer token. `server_name` is the name expected in the certificate if not
        the one of the URL. `ip_version` is 4 or 6 to use only such addresses. Without
        `keep_alive` every request has a connection of its own. `status_errors` says what a status
        that is not allowed means: a subclass of `ProbeError`, or a function that is given the
        text and returns the error.
        """
        try:
            from pollect.support import _http_transport as transport
        except ImportError as error:
            raise MissingDependency(
                "HTTP needs the library requests: pip install 'pollect-core[http]'",
                requirement="pollect-core[http]",
            ) from error
        self._transport = transport
        self._timeout_seconds = timeout
        self._connect_timeout_seconds = connect_timeout
        self._max_body_bytes = max_body_bytes
        self._status_errors = {**_STATUS_ERRORS, **(status_errors or {})}
        self._session = transport.build_session(
            transport.Options(
                verify=verify,
                ca_file=ca_file,
                client_cert=client_cert,
                client_key=client_key,
                server_name=server_name,
                ip_version=ip_version,
                keep_alive=keep_alive,
                read_seconds=read_timeout,
            ),
            proxy=proxy,
        )
        self._session.max_redirects = max_redirects
        self._session.headers["User-Agent"] = "pollect"
        if not keep_alive:
            self._session.headers["Connection"] = "close"
        self._session.headers.update(headers or {})
        if token is not None:
            self._session.auth = transport.BearerAuth(_text(token))
        elif user:
            self._session.auth = transport.basic_or_digest(user, _text(password), digest)

    @property
    def cookies(self) -> "CookieJar":
        """The cookies of the session."""
        return self._session.cookies

    def get(self, url: str, **options: Any) -> Response:
        """Return the answer to a GET; see `request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Response:
        """Return the answer to a POST; see `request`."""
        return self.request("POST", url, **options)

    def get_text(self, url: str, **options: Any) -> str:
        """Return the body of a GET as text; see `request`."""
        return self.request("GET", url, **options).text()

    def get_json(self, url: str, **options: Any) -> Any:
        """Return the body of a GET as JSON; see `request`."""
        return self.request("GET", url, **options).json()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | str | Mapping[str, str] | None = None,
        json: Any = None,
        timeout: float | None = None,
        statuses: Collection[int] | None = SUCCESS,
        follow_redirects: bool = True,
    ) -> Response:
        """Send a request and return the whole answer.

        `data` is sent as it is, a mapping as a form; `json` as JSON. `timeout` in seconds
        replaces the client's. A status outside of `statuses` is an error; None allows all.

        Raises `TargetUnavailable`, `AuthenticationFailed` or `BadResponse`.
        """
        limit = timeout or self._timeout_seconds
        with _mapped_errors(self._transport, url, limit):
            limits: Any = self._transport.Budget(limit, self._connect_timeout_seconds)
            answer = self._session.request(
                method,
                url,
                params=params,
                headers=headers,
                data=data,
                json=json,
                stream=True,
                allow_redirects=follow_redirects,
                timeout=limits,
            )
            with answer:
                body = _read_body(answer, self._max_body_bytes)
        if statuses is not None and answer.status_code not in statuses:
            raise self._bad_status(answer.url, answer.status_code)
        return Response(
            url=answer.url,
            status=answer.status_code,
            headers=answer.headers,
            body=body,
            exchanges=self._transport.exchanges_of(answer),
            encoding=_charset(answer.headers.get("Content-Type", "")),
        )

    def close(self) -> None:
        """Close all connections; the client stays usable and connects anew."""
        self._session.close()

    def _bad_status(self, url: str, status: int) -> ProbeError:
        build = self._status_errors.get(status)
        if build is None:
            return BadResponse(f"{redact_url(url)}: expected success, got status {status}")
        return build(f"{redact_url(url)}: refused with status {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def limit_session(
    session: "requests.Session",
    seconds: Callable[[], float],
    *,
    verify: bool = True,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> None:
    """Give the requests session of somebody else's library the limits and errors of `HttpClient`.

    `seconds` is called for every request and returns what that one may take as a whole, whatever
    timeout the library asks for; so a probe of many requests can have one deadline. Bodies are
    read at once. What goes wrong on the way is raised through the library as
    `TargetUnavailable` or `BadResponse`, while a status is left for the library to judge.
    """
    from pollect.support import _http_transport as transport

    class LimitedAdapter(transport.Adapter):
        def send(self, request: Any, **options: Any) -> "requests.Response":  # type: ignore[override]
            limit = max(seconds(), transport.SHORTEST_SECONDS)
            with _mapped_errors(transport, request.url, limit):
                budget = transport.Budget(limit)
                answer = super().send(request, **{**options, "stream": True, "timeout": budget})
                # The library finds the body in memory, within its bounds.
                answer._content = _read_body(answer, max_body_bytes)
            return answer

    adapter = LimitedAdapter(transport.Options(verify=verify))
    session.mount("http://", adapter)
    session.mount("https://", adapter)


def fetch_text(url: str, **options: Any) -> str:
    """Return the text behind `url` over a connection of its own; options as of `HttpClient`."""
    with HttpClient(**options) as client:
        return client.get_text(url)


def fetch_json(url: str, **options: Any) -> Any:
    """Return the JSON behind `url` over a connection of its own; options as of `HttpClient`."""
    with HttpClient(**options) as client:
        return client.get_json(url)


def _read_body(answer: "requests.Response", limit: int) -> bytes:
    body = bytearray()
    for chunk in answer.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            answer.close()
            raise BadResponse(f"{redact_url(answer.url)}: the body is larger than {limit} bytes")
    return bytes(body)


@contextmanager
def _mapped_errors(transport: ModuleType, url: str, limit: float) -> Iterator[None]:
    """Translate what requests and urllib3 raise.

    The cause of the translated error is the innermost one: a `TimeoutError`, a
    `socket.gaierror`, an `ssl.SSLError` or another `OSError` where there is one.
    """
    begin = time.monotonic()
    try:
        yield
    except transport.FOREIGN_ERRORS as error:
        where = redact_url(url)
        cause = transport.innermost(error)
        if isinstance(cause, TimeoutError):
            # Connecting and reading may have limits that are shorter.
            waited = min(limit, round(time.monotonic() - begin, 2))
            raise TargetUnavailable(f"{where}: no answer within {waited:g} s") from cause
        if isinstance(cause, ssl.SSLError):
            raise TargetUnavailable(f"{where}: TLS failed: {_tls_reason(cause)}") from cause
        if isinstance(cause, OSError) and transport.is_of_network(cause):
            reason = cause.strerror or str(cause) or type(cause).__name__
            if cause.filename:  # one of the TLS files
                reason = f"{cause.filename}: {reason}"
            raise TargetUnavailable(f"{where}: {reason}") from cause
        raise BadResponse(f"{where}: {transport.describe(cause)}") from cause


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or "utf-8"
    return "utf-8"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "the certificate was not accepted"
    return (error.reason or error.strerror or str(error)).replace("_", " ").lower()


def _text(secret: Secret | str) -> str:
    return secret.reveal() if isinstance(secret, Secret) else secret
