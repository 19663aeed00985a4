"""What requests lacks for probing: total time limits, measured phases, addresses of one family.

Imported by `pollect.support.http` when the first client is built; needs requests and urllib3.

urllib3 sets the time left for a request as the timeout of its socket, which limits every single
receive. The response class here takes it as the limit of the whole answer instead.
"""

import functools
import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import requests.auth
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_auth_from_url, get_netrc_auth
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from pollect.support.tls import build_ssl_context, presented_certificates

#: A timeout of nothing is an error to urllib3.
SHORTEST_SECONDS = 0.001

FOREIGN_ERRORS = (
    requests.RequestException,
    exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,  # a host name that cannot be encoded
)

_DESCRIPTIONS: tuple[tuple[type[BaseException], str], ...] = (
    (requests.TooManyRedirects, "too many redirects"),
    (requests.exceptions.ContentDecodingError, "the body cannot be decompressed"),
    (exceptions.DecodeError, "the body cannot be decompressed"),
    (requests.exceptions.InvalidSchema, "redirected to something else than HTTP"),
    (requests.exceptions.InvalidURL, "not a usable URL"),
    (exceptions.LocationValueError, "not a usable URL"),
    (UnicodeError, "not a usable host name"),
    (http.client.IncompleteRead, "the answer ended too early"),
    (exceptions.IncompleteRead, "the answer ended too early"),
)

_FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of connections, see `HttpClient`."""

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str = ""
    ip_version: int | None = None
    keep_alive: bool = True
    read_seconds: float | None = None


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Connecting took no time if the connection was there already.

    Behind a proxy resolving and connecting are those of the proxy, and `tls_seconds` has the
    time of its CONNECT.
    """

    resolve_seconds: float = 0.0
    connect_seconds: float = 0.0
    tls_seconds: float = 0.0
    #: Connection ready until first byte of the answer.
    processing_seconds: float = 0.0
    #: First byte until last byte of the answer.
    transfer_seconds: float = 0.0
    #: The address connected to.
    address: str = ""
    #: The version of HTTP in the answer.
    http_version: float = 0.0
    #: As OpenSSL names it, `TLSv1.3`; empty without TLS.
    tls_version: str = ""
    #: The certificates the server sent in DER, its own first; empty without TLS.
    certificates: tuple[bytes, ...] = ()


class Budget(urllib3.Timeout):
    """One time limit over all requests that a redirect leads to, in seconds."""

    def __init__(self, seconds: float, connect_seconds: float | None = None) -> None:
        super().__init__(total=seconds)
        self._end = time.monotonic() + seconds
        self._connect_seconds = connect_seconds

    def clone(self) -> urllib3.Timeout:
        left = max(self._end - time.monotonic(), SHORTEST_SECONDS)
        return urllib3.Timeout(total=left, connect=min(self._connect_seconds or left, left))


class BearerAuth(requests.auth.AuthBase):
    """A bearer token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class FoundAuth(requests.auth.AuthBase):
    """What is said nowhere else: the credentials of the URL, else those of a `.netrc`.

    Left to itself requests prefers the `.netrc` to a URL and to a header that is set on purpose.
    """

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if "Authorization" in request.headers:
            return request
        url = request.url or ""
        of_url = get_auth_from_url(url)
        found = of_url if any(of_url) else get_netrc_auth(url)
        return basic_or_digest(*found, digest=False)(request) if found else request


def basic_or_digest(user: str, password: str, digest: bool) -> requests.auth.AuthBase:
    if digest:
        return requests.auth.HTTPDigestAuth(user, password)
    return requests.auth.HTTPBasicAuth(user.encode(), password.encode())


def build_session(options: Options, *, proxy: str | None) -> requests.Session:
    session = _Session() if proxy is None else _SessionWithOwnProxy(proxy)
    adapter = Adapter(options)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.auth = FoundAuth()

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take credentials along on the same host only; another may have some in a `.netrc`."""
        headers, url = prepared_request.headers, prepared_request.url or ""
        strips: Any = self.should_strip_auth
        if strips(response.request.url or "", url):
            headers.pop("Authorization", None)
        if "Authorization" not in headers:
            prepared_request.prepare_auth(FoundAuth())


class _SessionWithOwnProxy(_Session):
    """Goes by this proxy whatever the environment says, at redirects as well."""

    def __init__(self, proxy: str) -> None:
        super().__init__()
        self.proxies = {"http": proxy, "https": proxy} if proxy else {}

    def merge_environment_settings(  # type: ignore[override]
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> dict[str, Any]:
        return {"proxies": self.proxies, "stream": stream, "verify": verify, "cert": cert}

    def rebuild_proxies(
        self, prepared_request: requests.PreparedRequest, proxies: Any
    ) -> dict[str, str]:
        # The connections to the proxy bring its credentials.
        prepared_request.headers.pop("Proxy-Authorization", None)
        return dict(self.proxies)


def exchanges_of(answer: requests.Response) -> tuple[Exchange, ...]:
    found = (getattr(each.raw, "exchange", None) for each in (*answer.history, answer))
    return tuple(exchange for exchange in found if exchange is not None)


def innermost(error: BaseException) -> BaseException:
    """Return the error at the root of what requests and urllib3 wrapped.

    They keep it as the cause, as an argument, or as an attribute; a timeout outweighs what it led
    to. The context is left alone, since it may hold an error of the caller.
    """
    found: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        current = todo.pop()
        if not isinstance(current, BaseException) or current in found:
            continue
        found.append(current)
        todo += [getattr(current, "original_error", None), getattr(current, "reason", None)]
        todo += [*current.args, current.__cause__]
    if any(isinstance(each, exceptions.ReadTimeoutError) for each in found):
        return TimeoutError()
    described = [kind for kind, _ in _DESCRIPTIONS]
    kinds: list[type[BaseException]] = [TimeoutError, socket.gaierror, ssl.SSLError, *described]
    for kind in kinds:
        for candidate in found:
            if isinstance(candidate, kind):
                return candidate
    own = [each for each in found if type(each).__module__ in ("builtins", "http.client")]
    return own[-1] if own else found[-1]


def is_of_network(error: BaseException) -> bool:
    """Tell whether the operating system raised it; the errors of requests are OSErrors too."""
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)


def describe(error: BaseException) -> str:
    """Say in a few words what is wrong with an answer; without any URL."""
    for kind, text in _DESCRIPTIONS:
        if isinstance(error, kind):
            return text
    return f"expected an HTTP answer, got {type(error).__name__}"


class Adapter(HTTPAdapter):
    """Connections made by the classes below, TLS as the options say."""

    def __init__(self, options: Options) -> None:
        self._options = options
        super().__init__()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        options = self._options
        return build_ssl_context(
            verify=options.verify,
            ca_file=options.ca_file,
            client_cert=options.client_cert,
            client_key=options.client_key,
            alpn=("http/1.1",),
        )

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._use_own_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known and not proxy.lower().startswith("socks"):
            self._use_own_pools(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, True)
        if host["scheme"] != "https":
            return host, {}
        tls: dict[str, Any] = {"ssl_context": self._tls}
        tls["cert_reqs"] = "CERT_REQUIRED" if self._options.verify else "CERT_NONE"
        if not self._options.verify:
            tls["assert_hostname"] = False
        if self._options.server_name:
            tls["server_hostname"] = self._options.server_name
        return host, tls

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the TLS context has it all."""

    def _use_own_pools(self, manager: urllib3.PoolManager) -> None:
        classes: dict[str, Any] = {
            "http": functools.partial(_build_pool, urllib3.HTTPConnectionPool, self._options),
            "https": functools.partial(_build_pool, _QuietHttpsPool, self._options),
        }
        manager.pool_classes_by_scheme = classes


class _QuietHttpsPool(urllib3.HTTPSConnectionPool):
    def _validate_conn(self, conn: Any) -> None:
        # Without the warning at every request: the operator chose not to verify.
        if conn.is_closed:
            conn.connect()


def _build_pool(
    pool_class: type[urllib3.HTTPConnectionPool], options: Options, *args: Any, **kwargs: Any
) -> urllib3.HTTPConnectionPool:
    pool = pool_class(*args, **kwargs)
    connection: Any = _HttpsConnection if pool.scheme == "https" else _Measured
    pool.ConnectionCls = functools.partial(connection, options)  # type: ignore[assignment]
    return pool


class _Measured(HTTPConnection):
    """Connects within one time limit and measures what it does."""

    def __init__(self, options: Options, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = options
        self._exchange = Exchange()
        self._ready_at = 0.0

    def _new_conn(self) -> socket.socket:
        exchange = self._exchange = Exchange()
        begin = time.monotonic()
        end = None if self.timeout is None else begin + float(self.timeout)
        family = _FAMILIES[self._options.ip_version]
        try:
            # The name without its trailing dot is what urllib3 keeps in `host`.
            found = socket.getaddrinfo(self._dns_host, self.port, family, socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise exceptions.LocationParseError(self.host) from error
        exchange.resolve_seconds = time.monotonic() - begin
        sock = self._connect_any(found, end)
        exchange.connect_seconds = time.monotonic() - begin - exchange.resolve_seconds
        return sock

    def _connect_any(self, found: list[Any], end: float | None) -> socket.socket:
        failure: OSError = OSError("the name has no address")
        for untried, (family, kind, protocol, _, address) in zip(
            range(len(found), 0, -1), found, strict=True
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if end is not None:
                    # An address that swallows everything leaves the next one its share.
                    share = (end - time.monotonic()) / untried
                    sock.settimeout(max(share, SHORTEST_SECONDS))
                sock.connect(address)
                # What is left is for the handshake, which TLS limits as a whole.
                if end is not None:
                    sock.settimeout(max(end - time.monotonic(), SHORTEST_SECONDS))
            except OSError as error:
                sock.close()
                failure = error
            else:
                self._exchange.address = str(address[0])
                return sock
        if isinstance(failure, TimeoutError):
            raise exceptions.ConnectTimeoutError(self, "no connection in time") from failure
        raise exceptions.NewConnectionError(self, str(failure)) from failure

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            self._ready_at = time.monotonic()
        super().request(*args, **kwargs)

    def connect(self) -> None:
        super().connect()
        self._ready_at = time.monotonic()

    def getresponse(self) -> Any:
        exchange = self._exchange
        # The next one on this connection connects no more.
        self._exchange = Exchange(
            address=exchange.address,
            tls_version=exchange.tls_version,
            certificates=exchange.certificates,
        )
        response_class: Any = functools.partial(
            _Response if self._options.keep_alive else _LastResponse,
            exchange,
            self._ready_at,
            self._options.read_seconds,
        )
        self.response_class = response_class
        response = super().getresponse()
        exchange.http_version = response.version / 10
        response.exchange = exchange  # type: ignore[attr-defined]
        return response


class _HttpsConnection(_Measured, HTTPSConnection):
    def connect(self) -> None:
        begin = time.monotonic()
        super().connect()
        exchange = self._exchange
        before = exchange.resolve_seconds + exchange.connect_seconds
        exchange.tls_seconds = self._ready_at - begin - before
        sock: Any = self.sock
        exchange.tls_version = sock.version() or ""
        exchange.certificates = presented_certificates(sock)


class _Response(http.client.HTTPResponse):
    """Reads through `_Reader`."""

    def __init__(
        self,
        exchange: Exchange,
        ready_at: float,
        read_seconds: float | None,
        sock: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(sock, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, exchange, ready_at, read_seconds))


class _LastResponse(_Response):
    """The connection is not used again, even if the server does not say so as well."""

    def _check_close(self) -> bool:
        return True


class _Reader(io.RawIOBase):
    """The incoming side of a socket; the socket's timeout at the start limits it as a whole.

    `read_seconds` limits the wait for the next bytes within that.
    """

    def __init__(
        self, sock: Any, exchange: Exchange, ready_at: float, read_seconds: float | None
    ) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._exchange = exchange
        self._ready_at = ready_at
        self._first_byte_at: float | None = None
        timeout = sock.gettimeout()
        self._end = None if timeout is None else time.monotonic() + timeout
        self._read_seconds = read_seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(min(left, self._read_seconds or left))
        count: int | None = self._raw.readinto(buffer)
        now = time.monotonic()
        if self._first_byte_at is None:
            self._first_byte_at = now
            self._exchange.processing_seconds = now - self._ready_at
        self._exchange.transfer_seconds = now - self._first_byte_at
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
