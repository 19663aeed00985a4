"""Source `HttpIngress`: other programs push values over HTTP, every tick hands them on.

    POST / with {"metrics": {"queue_length": {"value": 7, "labels": {"site": "north"}}}}

Each label set keeps its own value: the last one of a gauge, the sum of a counter. A push counts as
a whole or not at all, and what was acknowledged is in the next probe. `PUT` is the same, `DELETE`
forgets label sets, everything else answers that the source is alive. pollect 1.x published its one
metric without the metric's name; where exactly one is defined it still appears so as well. Needs no
library.
"""

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from pollect.api import (
    ConfigError,
    FilePath,
    Host,
    Kind,
    Metric,
    NoData,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.allowed_hosts import AllowedHosts, HostPatterns
from pollect.support.listening import explain_listen_error, is_local
from pollect_sources_network.credentials import BasicAuth
from pollect_sources_network.http_ingress.payload import (
    MAX_LABEL_BYTES,
    Definition,
    parse_push,
)
from pollect_sources_network.http_ingress.server import Access, IngressServer, Limits
from pollect_sources_network.http_ingress.store import Store

REQUESTS = Metric(
    "requests",
    help="Requests answered since the start, by status.",
    kind=Kind.COUNTER,
    labels=("code",),
)
#: Behind the name of a metric under `details`.
PUSH_TIME_SUFFIX = "_last_push_timestamp"
ALL_ADDRESSES = "0.0.0.0"


class IngressMetric(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A metric that may be pushed."""

    type: Annotated[
        Literal["gauge", "counter"],
        Meta(description="A gauge keeps the last value, a counter adds up what is pushed."),
    ] = "gauge"
    labels: Annotated[
        tuple[str, ...], Meta(description="Labels that every push of this metric must carry.")
    ] = ()
    expire: Annotated[
        Seconds | None,
        Meta(description="Seconds without a push until a label set is dropped; default: never."),
    ] = None
    help: Annotated[str, Meta(description="What the metric tells, for those who read it.")] = ""
    unit: Annotated[str, Meta(description="Unit of the value, in plural: bytes, seconds.")] = ""


class HttpIngressConfig(SourceConfig, frozen=True, kw_only=True):
    # 1.x used the word first: here it defines metrics, and there is no filter.
    metrics: Annotated[  # type: ignore[assignment]
        dict[str, IngressMetric], Meta(description="The metrics that may be pushed, by name.")
    ]
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        Meta(description="TCP port to listen on; 0 for any that is free."),
    ]
    bind: Annotated[
        Host | None,
        Meta(description="Address to listen on, `::` for IPv4 and IPv6; default: 0.0.0.0."),
    ] = None
    token: Annotated[
        Secret | None, Meta(description="Token that pushes must carry as bearer token.")
    ] = None
    token_file: Annotated[FilePath | None, Meta(description="File with the token instead.")] = None
    basic_auth: Annotated[
        BasicAuth | None,
        Meta(description="User and password that pushes may carry, instead of the token."),
    ] = None
    paths: Annotated[
        tuple[FilePath, ...],
        Meta(description="Paths that take requests, as in /push; default: all."),
    ] = ()
    tls_cert: Annotated[
        FilePath | None,
        Meta(description="File with the server's certificate in PEM; turns TLS on."),
    ] = None
    tls_key: Annotated[
        FilePath | None, Meta(description="File with its key; default: it is in `tlsCert`.")
    ] = None
    max_body_size: Annotated[
        Annotated[int, Meta(gt=0)], Meta(description="Bytes a push may have, also unpacked.")
    ] = 1024 * 1024
    read_timeout: Annotated[
        Seconds, Meta(description="Seconds a client may take to send one request.")
    ] = 10.0
    max_connections: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(
            description="Number of connections at the same time; one more takes the place of the "
            "one that has been of least use."
        ),
    ] = 32
    max_series: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Number of label sets kept, of all metrics.")
    ] = 10_000
    max_label_size: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Bytes that one label of a push may have.")
    ] = MAX_LABEL_BYTES
    max_store_size: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Bytes that the labels of all label sets may have together."),
    ] = 16 * 1024 * 1024
    allowed_hosts: HostPatterns = ()
    persist: Annotated[
        bool, Meta(description="Whether the values survive a restart, in the state directory.")
    ] = False


class HttpIngressSource(Source[HttpIngressConfig]):
    """Values that other programs push; listens on a port, a probe costs no request."""

    config_type = HttpIngressConfig
    metrics = (REQUESTS,)
    dynamic_metrics = True

    def __init__(self, config: HttpIngressConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if not config.metrics:
            raise ConfigError("expected at least one metric", key="metrics")
        if config.details and REQUESTS.name in config.metrics:
            raise ConfigError("this name is taken by `details`", key="metrics.requests")
        if config.token and config.token_file:
            raise ConfigError("expected `token` or `tokenFile`, not both", key="tokenFile")
        if config.token is not None and not config.token.reveal():
            raise ConfigError("expected a token, got an empty text", key="token")
        if config.basic_auth and not config.basic_auth.username:
            raise ConfigError("expected a user name", key="basicAuth.username")
        for number, path in enumerate(config.paths):
            if not path.startswith("/"):
                raise ConfigError(
                    f"expected a path like /push, got {path!r}", key=f"paths[{number}]"
                )
        self._definitions = {
            name: Definition(metric.labels, metric.type == "counter", metric.expire)
            for name, metric in config.metrics.items()
        }
        self._metrics = {
            name: tuple(_declare(name, metric, only=len(config.metrics) == 1))
            for name, metric in config.metrics.items()
        }
        self._push_times = {
            name: Metric(
                name + PUSH_TIME_SUFFIX,
                help=f"Unix time in seconds of the last push of {name}.",
                unit="seconds",
                labels=metric.labels,
            )
            for name, metric in config.metrics.items()
        }
        self._store = Store(
            self._definitions,
            context.clock,
            max_series=config.max_series,
            max_bytes=config.max_store_size,
        )
        self._server: IngressServer | None = None
        self._has_taken_over = False

    @property
    def port(self) -> int:
        """The port it listens on; the one of the config unless that is 0."""
        return self._server.port if self._server else self.config.port

    def expected_metrics(self) -> Sequence[Metric]:
        pushed = [metric for declared in self._metrics.values() for metric in declared]
        return [*pushed, *self._push_times.values(), REQUESTS] if self.config.details else pushed

    def listens_on(self) -> Sequence[tuple[str, int]]:
        return ((self.config.bind or "", self.config.port),)

    def take_over(self, previous: "HttpIngressSource") -> None:
        # Clients go on pushing to the same place, and a counter should not restart meanwhile.
        config, before = self.config, previous.config
        if (config.port, config.bind) == (before.port, before.bind):
            self._store.take_over(previous._store)
            self._has_taken_over = True

    def open(self) -> None:
        config = self.config
        access = self._read_access()
        if not access.challenges and config.bind is None:
            self.log.warning(
                "port %d accepts values from anyone: set `token` or `basicAuth`, "
                "or set `bind` if that is intended",
                config.port,
            )
        self._load()
        limits = Limits(
            body_bytes=config.max_body_size,
            read_seconds=config.read_timeout,
            connections=config.max_connections,
        )
        host = config.bind or ALL_ADDRESSES
        tls = self._build_tls()
        try:
            server = IngressServer(
                host,
                config.port,
                self._accept,
                limits,
                self.log,
                access=access,
                paths=config.paths,
                hosts=AllowedHosts(config.allowed_hosts),
                tls=tls,
            )
        except OSError as error:
            reason = explain_listen_error(error, config.port)
            raise TargetUnavailable(f"{host} port {config.port}: {reason}") from error
        server.start()
        self._server = server
        if access.challenges and tls is None and not is_local(server.listener):
            self.log.warning(
                "passwords and tokens are sent unencrypted to port %d; add `tlsCert`, "
                "or set `bind: 127.0.0.1` and put a proxy with TLS before it",
                self.port,
            )

    def probe(self) -> Iterable[Sample]:
        samples = []
        for name, labels, value, pushed_at in self._store.snapshot():
            samples += [metric.sample(value, *labels) for metric in self._metrics[name]]
            if self.config.details:
                samples.append(self._push_times[name].sample(pushed_at, *labels))
        if self.config.details and self._server is not None:
            answers = self._server.answers().items()
            samples += [REQUESTS.sample(count, str(code)) for code, count in answers]
        if self.config.persist:
            self._save()
        if not samples:
            raise NoData("nothing was pushed yet, or all of it has expired", withdraw=True)
        return samples

    def close(self) -> None:
        if self._server is None:
            return
        self._server.stop()
        self._server = None
        if self.config.persist:
            self._save()

    @property
    def _state_file(self) -> Path:
        place = quote(self.context.id.dotted, safe=" ")
        return self.context.state_dir / f"http-ingress-{place}.json"

    def _accept(self, method: str, body: bytes) -> str:
        limit = self.config.max_label_size
        updates = parse_push(body, self._definitions, max_label_bytes=limit)
        if method == "DELETE":
            self._store.remove(updates)
            return "metrics removed"
        self._store.apply(updates)
        return "metrics updated"

    def _read_access(self) -> Access:
        user = self.config.basic_auth
        return Access(
            token=self._read_token(),
            user=user.username if user else "",
            password=user.password.reveal() if user else "",
        )

    def _read_token(self) -> str:
        if self.config.token is not None:
            return self.config.token.reveal()
        if self.config.token_file is None:
            return ""
        file = self.context.config_dir / self.config.token_file
        try:
            token = file.read_text().strip()
        except OSError as error:
            raise TargetUnavailable(f"{file}: {error.strerror}") from error
        if not token:
            raise TargetUnavailable(f"{file}: expected a token, it is empty")
        return token

    def _build_tls(self) -> ssl.SSLContext | None:
        if self.config.tls_cert is None:
            return None
        folder = self.context.config_dir
        key = folder / self.config.tls_key if self.config.tls_key else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(folder / self.config.tls_cert, key)
        except OSError as error:
            raise TargetUnavailable(
                f"cannot use the certificate {self.config.tls_cert}: {error.strerror}"
            ) from error
        return context

    def _load(self) -> None:
        if not self.config.persist or self._has_taken_over:
            return
        try:
            self._store.load(self._state_file)
        except (OSError, ValueError) as error:
            self.log.warning("cannot take up the values of the last run: %s", error)

    def _save(self) -> None:
        try:
            self._store.save_changes(self._state_file)
        except OSError as error:
            self.log.warning("cannot keep the values for the next run: %s", error)


def _declare(name: str, config: IngressMetric, *, only: bool) -> Iterable[Metric]:
    kind = Kind.COUNTER if config.type == "counter" else Kind.GAUGE
    help = config.help or f"Value pushed as {name}."
    for value_name in (name, None) if only else (name,):
        yield Metric(value_name, help=help, unit=config.unit, kind=kind, labels=config.labels)
