"""HTTP client for sources and writers: one total time limit, a body limit, pollect's own errors.

It needs no library. Build it in `open()`::

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

A redirect to another origin (scheme, host and port) takes along neither credentials nor cookies
nor any header but those that say what kind of answer is wanted.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pollect.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.plugin import Secret
from pollect.support._http.bodies import Response, charset_of, encode_body, with_query
from pollect.support._http.connection import Answer, Message, Options, Pool
from pollect.support._http.cookies import Cookies
from pollect.support._http.credentials import (
    Credentials,
    Digest,
    Netrc,
    basic,
    bearer,
    of_user_info,
)
from pollect.support._http.message import BadMessage
from pollect.support._http.trip import Trip, check_field, locate, merge_fields
from pollect.support.connect import SHORTEST_SECONDS, Deadline, describe_failure
from pollect.support.options import IpProtocol
from pollect.support.proxies import ProxyChoice
from pollect.support.redirects import allowed_redirects
from pollect.support.urls import redact_url

if TYPE_CHECKING:
    import requests

__all__ = ["HttpClient", "Response", "StatusErrors", "fetch_json", "fetch_text", "limit_session"]

DEFAULT_TIMEOUT_SECONDS = 10.0
MAX_BODY_BYTES = 10 * 1024 * 1024
#: What requests and 1.x allow.
MAX_REDIRECTS = 30

ACCEPTED_CODINGS = "gzip, deflate"
SUCCESS = range(200, 300)
UNAUTHORIZED = (401, 403, 407)

#: What a status means to a source: takes the text of the error and returns the error.
StatusErrors: TypeAlias = Mapping[int, Callable[[str], ProbeError]]
_STATUS_ERRORS: StatusErrors = dict.fromkeys(UNAUTHORIZED, AuthenticationFailed)

_REDIRECTS = (301, 302, 303, 307, 308)
_WITH_BODY = ("POST", "PUT", "PATCH")


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

    `proxy`: None takes it from the environment, the empty text means none at all. HTTP proxies
    and SOCKS (`socks5h://...`, also 4, 4a and 5) are understood.
    The client may be shared by threads.
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
        cut_body: bool = False,
    ) -> None:
        """Build the session; opens no connection.

        `user` and `password` are sent as basic or, with `digest`, as digest authentication,
        `token` as a bearer token. `server_name` is the name expected in the certificate if not
        the one of the URL. `ip_version` is 4 or 6 to use only such addresses. Without
        `keep_alive` every request has a connection of its own. `status_errors` says what a status
        that is not allowed means: a subclass of `ProbeError`, or a function that is given the
        text and returns the error. With `cut_body` a body that is longer than `max_body_bytes`
        ends there instead of being an error.
        """
        self._timeout_seconds = timeout
        self._max_redirects = max_redirects
        # Of the thread that makes the client: requests may come from others.
        self._allows = allowed_redirects()
        self._status_errors = {**_STATUS_ERRORS, **(status_errors or {})}
        versions: dict[int | None, IpProtocol] = {4: 4, 6: 6}
        self._pool = Pool(
            Options(
                verify=verify,
                ca_file=ca_file,
                client_cert=client_cert,
                client_key=client_key,
                server_name=server_name,
                ip_protocol=versions.get(ip_version, "any"),
                keep_alive=keep_alive,
                connect_seconds=connect_timeout,
                read_seconds=read_timeout,
                max_body_bytes=max_body_bytes,
                cut_body=cut_body,
            )
        )
        self._proxies = ProxyChoice(proxy)
        self._netrc = Netrc()
        self._credentials: Credentials | None = None
        if token is not None:
            self._credentials = bearer(_text(token))
        elif user:
            kind = Digest if digest else basic
            self._credentials = kind(user, _text(password))
        #: The cookies of the session.
        self.cookies = Cookies()
        usual = {
            "User-Agent": "pollect",
            "Accept-Encoding": ACCEPTED_CODINGS,
            "Accept": "*/*",
            "Connection": "keep-alive" if keep_alive else "close",
        }
        self._fields = merge_fields({}, usual, headers)

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
        body, content_type = encode_body(data, json)
        fields = self._fields
        if headers or content_type:
            kind = {"Content-Type": content_type} if content_type else {}
            fields = merge_fields(merge_fields({}, kind), {}, dict(fields.values()))
            fields = merge_fields(fields, headers)
        if params:
            url = with_query(url, params)
        with _mapped_errors(url, limit):
            trip = Trip(method.upper(), url, fields, body)
            answer = self._follow(trip, Deadline(limit), follow_redirects)
        head = answer.head
        if statuses is not None and head.status not in statuses:
            raise self._bad_status(trip.url, head.status)
        return Response(
            url=trip.url,
            status=head.status,
            headers=head.headers,
            body=answer.body,
            exchanges=tuple(trip.exchanges),
            encoding=charset_of(head.headers.get("Content-Type", "")),
        )

    def close(self) -> None:
        """Close all connections; the client stays usable and connects again."""
        self._pool.close()

    def _follow(self, trip: Trip, deadline: Deadline, follow_redirects: bool) -> Answer:
        for _ in range(self._max_redirects + 1):
            answer = self._send(trip, deadline)
            headers = answer.head.headers
            cookies = headers.get_all("Set-Cookie")
            if cookies:
                self.cookies.take(cookies, trip.place.origin, trip.place.target)
            is_redirect = answer.head.status in _REDIRECTS and "Location" in headers
            if not (is_redirect and follow_redirects):
                return answer
            trip.turn(answer.head.status, headers.get_all("Location")[0])
            host = trip.place.origin.host
            if self._allows is not None and not self._allows(host):
                raise BadMessage(f"redirected to {host[:80]!r}, which may not be asked")
        raise BadMessage("too many redirects")

    def _send(self, trip: Trip, deadline: Deadline) -> Answer:
        origin, target, netloc = trip.place
        credentials: Credentials | None = None
        if not trip.is_away:
            credentials = self._credentials
        if credentials is None and "authorization" not in trip.fields:
            credentials = of_user_info(netloc) or trip.own or self._netrc.find(origin.host)
        proxy = self._proxies.find(*origin)
        while True:
            message = Message(trip.method, target, self._outgoing(trip, credentials), trip.body)
            answer = self._pool.exchange(origin, message, proxy, deadline)
            trip.exchanges.append(answer.exchange)
            if answer.head.status != 401 or credentials is None or trip.is_challenged:
                return answer
            trip.is_challenged = True
            if not credentials.accept(answer.head.headers.get_all("WWW-Authenticate")):
                return answer

    def _outgoing(self, trip: Trip, credentials: Credentials | None) -> Iterator[tuple[str, str]]:
        origin, target, _ = trip.place
        fields = trip.fields
        if "host" not in fields:
            yield "Host", origin.header
        authorization = credentials.header(trip.method, target) if credentials else ""
        for key, pair in fields.items():
            if not (authorization and key == "authorization"):
                yield pair
        if authorization:
            check_field("Authorization", authorization)
            yield "Authorization", authorization
        if "cookie" not in fields and (cookies := self.cookies.header(origin, target)):
            yield "Cookie", cookies
        if trip.body or trip.method in _WITH_BODY:
            yield "Content-Length", str(len(trip.body))

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
    """Give the requests session of another library the connections and errors of `HttpClient`.

    `seconds` is called for every request and returns what that one may take as a whole, whatever
    timeout the library asks for; so a probe of many requests can have one deadline. Bodies are
    read at once. What goes wrong on the way is raised through the library as
    `TargetUnavailable` or `BadResponse`, while a status is left for the library to judge.
    """
    from pollect.support._http.session import LimitedAdapter

    pool = Pool(Options(verify=verify, max_body_bytes=max_body_bytes))

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        limit = max(seconds(), SHORTEST_SECONDS)
        with _mapped_errors(url, limit):
            origin, target, _ = locate(url)
            # Only what we undo, whatever the library offers.
            own = {"Host": origin.header, "Accept-Encoding": ACCEPTED_CODINGS}
            fields = merge_fields({}, headers, own)
            message = Message(method, target, fields.values(), body)
            proxy = proxies.find(*origin)
            return pool.exchange(origin, message, proxy, Deadline(limit))

    if allowed_redirects() is not None:
        session.max_redirects = 0  # where they lead is known to the library alone
    proxies = ProxyChoice(None)
    adapter = LimitedAdapter(send, pool.close)
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


@contextmanager
def _mapped_errors(url: str, limit: float) -> Iterator[None]:
    """Translate what connections and messages raise; the cause keeps the kind of failure."""
    begin = time.monotonic()
    try:
        yield
    except TimeoutError as error:
        # Connecting and reading may have limits that are shorter.
        waited = min(limit, round(time.monotonic() - begin, 2))
        raise TargetUnavailable(f"{redact_url(url)}: no answer within {waited:g} s") from error
    except OSError as error:
        raise TargetUnavailable(f"{redact_url(url)}: {describe_failure(error)}") from error
    except BadMessage as error:
        raise BadResponse(f"{redact_url(url)}: {error}") from error
    except ConfigError as error:  # of a proxy that the environment names
        raise TargetUnavailable(f"{redact_url(url)}: {error.problem}") from error
    except ProbeError as error:
        raise type(error)(f"{redact_url(url)}: {error}") from error


def _text(secret: Secret | str) -> str:
    return secret.reveal() if isinstance(secret, Secret) else secret
