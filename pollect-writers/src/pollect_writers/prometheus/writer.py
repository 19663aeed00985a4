"""Writer `Prometheus`: an HTTP endpoint that Prometheus scrapes.

Every path answers with the metrics, as in pollect 1.x, except `/` for browsers (the page), its
`/status.json` and its parts below `/-/`, `/-/healthy` and `/-/ready`; with `probes` in the config
also `/probe`, and with an inventory `/sd`. Text 0.0.4 or OpenMetrics
1.0, whichever the scraper prefers; gzip; `?name[]=` picks single metrics. With `tls` it speaks
HTTPS, with `auth` it wants a password or a token. What plugins count with prometheus-client in its
default registry is shown too.
"""

import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pollect.api import Batch, ConfigError, Sample, SourceId, WriterContext
from pollect.support.http_server import Pending, Request, Response
from pollect_writers.prometheus.config import PrometheusConfig, PrometheusSslConfig, TlsConfig
from pollect_writers.prometheus.endpoint import Endpoint
from pollect_writers.prometheus.exposition import (
    Block,
    Exposition,
    Renderer,
    join_open_metrics,
    join_text,
)
from pollect_writers.prometheus.process import Process

if TYPE_CHECKING:
    from pollect_writers.prometheus.client_registry import ClientRegistry

PROBE, DISCOVERY = "/probe", "/sd"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
#: Seconds the first scrapes wait for the first probes, so that a fresh start makes no gap.
FIRST_VALUES_SECONDS = 1.0
#: Samples of a batch of self metrics whose lines are remembered from scrape to scrape.
_MOST_REMEMBERED = 5000
#: Level 1 makes 1.3 times the bytes of level 9 in a twentieth of its time.
_GZIP_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class PrometheusWriter(Endpoint[PrometheusConfig]):
    """Shows the latest values; what a source no longer has is gone at once."""

    config_type = PrometheusConfig

    def __init__(self, config: PrometheusConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._exposition = Exposition(self.log)
        self._scrape_lock = threading.Lock()
        self._collect: Callable[[], Iterable[Sample]] = tuple
        self._process = Renderer(None)
        self._client_registry: ClientRegistry | None = None
        self._self_renderers: dict[SourceId, Renderer] = {}
        self._self_shown: dict[SourceId, tuple[Batch, Block]] = {}
        self._refused: set[SourceId] = set()
        self._waited = False

    def open(self) -> None:
        if self.config.process_metrics:
            self._collect = Process().samples
        super().open()

    def write(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._exposition.put(batch)

    def _wants_page(self) -> bool:
        return self.config.page

    def _other(self, request: Request) -> Response | Pending:
        if request.path == PROBE and (probes := self.context.probes()) is not None:
            from pollect_writers.prometheus.on_demand import probe

            return probe(request, probes, lambda blocks: self._exposed(request, blocks))
        if request.path == DISCOVERY and (groups := self.context.targets()) is not None:
            from pollect_writers.prometheus.on_demand import discovery

            return self._compressed(request, discovery(groups))
        if not self._waited:
            self.context.ready.wait(FIRST_VALUES_SECONDS)
            self._waited = True
        blocks = self._blocks()
        return self._exposed(request, blocks, self._others(request, blocks))

    def _others(self, request: Request, blocks: Sequence[Block]) -> Sequence[bytes]:
        """Return what others count with prometheus-client, if anything has imported it."""
        if not self.config.client_registry or "prometheus_client" not in sys.modules:
            return ()
        if self._client_registry is None:
            from pollect_writers.prometheus.client_registry import ClientRegistry

            self._client_registry = ClientRegistry(self.log)
        open_metrics, names = _wants_open_metrics(request), _wanted_names(request)
        return self._client_registry.render(blocks, names, open_metrics=open_metrics)

    def _exposed(
        self, request: Request, blocks: Sequence[Block], others: Sequence[bytes] = ()
    ) -> Response:
        """Return blocks in the format that a request wants."""
        open_metrics = _wants_open_metrics(request)
        join = join_open_metrics if open_metrics else join_text
        content_type = OPEN_METRICS if open_metrics else TEXT
        # Not joined: clients that read slowly share the text of large sources.
        pieces = join(blocks, _wanted_names(request), others)
        headers = {"Vary": "Accept, Accept-Encoding"}
        answer = Response(pieces, content_type, headers=headers, earns_trust=True)
        return self._compressed(request, answer)

    def _compressed(self, request: Request, answer: Response) -> Response:
        if not accepts_gzip(request.headers.get("accept-encoding", "")):
            return answer
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        gzip = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
        body = [b"".join([*map(gzip.compress, pieces), gzip.flush()])]
        headers = {**dict(answer.headers), "Content-Encoding": "gzip"}
        return msgspec.structs.replace(answer, body=body, headers=headers)

    def _blocks(self) -> list[Block]:
        blocks = self._exposition.blocks()
        wanted = self.config.self_metrics
        shows_self = self.self_metrics if wanted is None else wanted
        own = self.context.self_batches() if shows_self else ()
        with self._scrape_lock:
            blocks += map(self._self_block, own)
            blocks.append(self._process.render(tuple(self._collect()))[0])
        return blocks

    def _self_block(self, batch: Batch) -> Block:
        shown, block = self._self_shown.get(batch.source, (None, []))
        if (
            shown is not None
            and shown.samples is batch.samples
            and shown.static_labels == batch.static_labels
        ):
            return block
        try:
            block = self._render_self(batch)
        except (TypeError, ValueError) as error:
            # Plugins add batches here that were never checked; theirs must not take the others.
            if batch.source not in self._refused:
                self._refused.add(batch.source)
                self.log.error("self metrics %s left out: %s", batch.source, error)
            return []
        if isinstance(batch.samples, tuple):  # a list may have other samples by the next scrape
            self._self_shown[batch.source] = batch, block
        return block

    def _render_self(self, batch: Batch) -> Block:
        if len(batch.samples) > _MOST_REMEMBERED:
            # Ten thousand targets: what remembers their lines would take twice what they take.
            return [
                part
                for first in range(0, len(batch.samples), _MOST_REMEMBERED)
                for part in Renderer(batch.source).render(
                    batch.samples[first : first + _MOST_REMEMBERED], batch.static_labels
                )[0]
            ]
        renderer = self._self_renderers.get(batch.source)
        if renderer is None:
            renderer = self._self_renderers[batch.source] = Renderer(batch.source)
        return renderer.render(batch.samples, batch.static_labels)[0]


class PrometheusSslWriter(PrometheusWriter):
    """The endpoint of `Prometheus` over TLS, with the options of pollect 1.x."""

    config_type = PrometheusSslConfig
    config: PrometheusSslConfig

    def _tls_config(self) -> TlsConfig | None:
        cert, key, tls = self.config.cert, self.config.key, self.config.tls
        if (cert or key) and tls is not None:
            raise ConfigError("given twice", key="tls", hint="use either `tls` or `cert` and `key`")
        if tls is not None:
            return tls
        if not cert or not key:
            raise ConfigError("missing", key="key" if cert else "cert", hint="a PEM file")
        return TlsConfig(cert=cert, key=key)

    def _tls_key(self, option: str) -> str:
        return super()._tls_key(option) if self.config.tls is not None else option


def _wants_open_metrics(request: Request) -> bool:
    return prefers_open_metrics(request.headers.get("accept", ""))


def _wanted_names(request: Request) -> frozenset[str]:
    return frozenset(request.query.get("name[]", ()))


def prefers_open_metrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics rather than for plain text (RFC 9110, 12.5.1).

    The library's own choice takes the first format that it knows, and heeds no weight.

    >>> prefers_open_metrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    True
    >>> prefers_open_metrics("*/*")
    False
    """
    weights = _weights(accept)
    return weights.get("application/openmetrics-text", 0.0) > weights.get("text/plain", 0.0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header takes gzip (RFC 9110, 12.5.3).

    >>> accepts_gzip("deflate, gzip"), accepts_gzip("gzip;q=0, identity"), accepts_gzip("")
    (True, False, False)
    """
    return _weights(accept_encoding).get("gzip", 0.0) > 0.0


def _weights(header: str) -> dict[str, float]:
    """Return what a header of preferences names, in lower case, and how much it is wanted."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        weights[name] = max(weight, weights.get(name, 0.0))
    return weights
