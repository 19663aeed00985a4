"""What listens for browsers and scrapers: TLS, passwords, health checks and the page.

`/-/healthy` and `/-/ready` answer everybody, all else only those whom `auth` lets in.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, TypeVar

from pollect.api import ConfigError, WriteError, Writer, WriterContext
from pollect.support.allowed_hosts import AllowedHosts
from pollect.support.http_server import HttpServer, Later, Pending, Request, Response, listen
from pollect.support.listening import explain_listen_error, is_local
from pollect_writers.page.routes import POSTING, Page
from pollect_writers.prometheus.config import AuthConfig, EndpointConfig, TlsConfig

if TYPE_CHECKING:
    from pollect_writers.prometheus.auth import Gate
    from pollect_writers.prometheus.tls import ServerTls

_READING = ("GET", "HEAD", "OPTIONS")
#: These alone need no password.
_HEALTH_CHECKS = ("/-/healthy", "/-/ready")

EndpointConfigT = TypeVar("EndpointConfigT", bound=EndpointConfig)


class Endpoint(Writer[EndpointConfigT], Generic[EndpointConfigT]):
    """A writer that is asked: it listens, and `_other` answers what is not of the page."""

    in_process = True
    accepts_partial = True
    latest_only = True

    def __init__(self, config: EndpointConfigT, context: WriterContext) -> None:
        super().__init__(config, context)
        self._server: HttpServer | None = None
        tls = self._tls_config()
        self._tls = self._build_tls(tls) if tls is not None else None
        self._gate = _build_gate(config.auth) if config.auth is not None else None
        self._page = Page(context, read_only=config.read_only) if self._wants_page() else None

    @property
    def port(self) -> int:
        """The port it listens on, once open."""
        return self._server.port if self._server else self.config.port

    def listens_on(self) -> Sequence[tuple[str, int]]:
        return ((self.config.bind, self.config.port),)

    def check_files(self) -> None:
        if self._tls is not None:
            from pollect_writers.prometheus.tls import UnusableFile

            try:
                self._tls.load()
            except UnusableFile as error:
                raise ConfigError(str(error), key=self._tls_key(error.option)) from error

    def open(self) -> None:
        host, port = self.config.bind, self.config.port
        if self._tls is not None:
            self._tls.load()
        try:
            listener = listen(host, port)
        except OSError as error:
            raise WriteError(
                f"cannot listen on {host} port {port}: {explain_listen_error(error, port)}"
            ) from error
        wrap = self._tls.wrap if self._tls is not None else None
        hosts = AllowedHosts(self.config.allowed_hosts)
        self._server = HttpServer(listener, self._answer, wrap=wrap, hosts=hosts)
        self._server.start()
        scheme = "https" if self._tls is not None else "http"
        place = f"[{host}]" if ":" in host else host
        self.log.info("listening on %s://%s:%d/", scheme, place, self.port)
        if self._gate is not None and self._tls is None and not is_local(listener):
            self.log.warning(
                "%s: passwords and tokens of `auth` are sent unencrypted to port %d; "
                "add `tls`, or set `bind: 127.0.0.1` and put a proxy with TLS before it",
                self.context.name,
                self.port,
            )

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _tls_config(self) -> TlsConfig | None:
        return self.config.tls

    def _build_tls(self, config: TlsConfig) -> "ServerTls":
        from pollect_writers.prometheus.tls import ServerTls

        return ServerTls(config, self.context.config_dir, self.log)

    def _tls_key(self, option: str) -> str:
        """Return where the config has an option of TLS."""
        return f"tls.{option}"

    def _answer(self, request: Request) -> Response | Later | Pending:
        # The page asks for a probe with POST; nothing else changes anything.
        allowed = POSTING if self._page is not None and self._page.takes(request) else _READING
        if request.method not in allowed:
            return Response(
                f"this server answers {', '.join(allowed[:-1])} and {allowed[-1]}\n".encode(),
                status=HTTPStatus.METHOD_NOT_ALLOWED,
                headers={"Allow": ", ".join(allowed)},
            )
        if request.method == "OPTIONS":
            return Response(b"", headers={"Allow": ", ".join(allowed)})
        if self._gate is not None and request.path not in _HEALTH_CHECKS:
            return self._gate.answer(request, lambda: self._show(request))
        return self._show(request)

    def _show(self, request: Request) -> Response | Pending:
        match request.path:
            case "/-/healthy":
                return Response(b"healthy\n")
            case "/-/ready" if self.context.ready.is_set():
                return Response(b"ready\n")
            case "/-/ready":
                return Response(
                    b"not every source was probed yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE
                )
            case "/favicon.ico":
                return Response(b"")
        answer = self._page.answer(request) if self._page is not None else None
        return answer or self._other(request)

    def _other(self, request: Request) -> Response | Pending:
        """Answer what is neither a health check nor of the page."""
        raise NotImplementedError

    def _wants_page(self) -> bool:
        return True


def _build_gate(config: AuthConfig) -> "Gate":
    # Brings hashlib along, 4 MiB, so only those who use passwords pay for it.
    from pollect_writers.prometheus.auth import Gate

    return Gate(config)
