"""Source `Http`: response time of one or several URLs, as a black box sees them.

One new connection per URL and probe, redirects followed, the whole body read. The value without a
name is the time in milliseconds; whatever goes wrong, it is `timeout` x 1000, as it always was, and
`success` is 0; the log tells once why, and once when it is over. With `details` the time is split
into phases as the Prometheus blackbox exporter does, with `result_code` numbered as Telegraf's
`http_response` (7, TLS, is ours). Several URLs are probed side by side. Needs no library.
"""

import contextlib
import functools
import re
import socket
import time
from collections.abc import (
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.api import (
    BadResponse,
    ConfigError,
    FilePath,
    Metric,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceContext,
)
from pollect.support.connect import is_tls_error
from pollect.support.http import MAX_REDIRECTS, HttpClient, Response
from pollect.support.http_fields import parse_date, parse_whole
from pollect.support.options import TlsTargetOptions
from pollect.support.urls import check_url, redact_url, url_label
from pollect_sources_network.credentials import BasicAuth
from pollect_sources_network.http.metrics import BY_URL, ONE_URL, PHASES, HttpMetrics, ResultCode
from pollect_sources_network.parallel import longest_seconds, side_by_side
from pollect_sources_network.x509 import earliest_expiry

MILLISECONDS = 1000.0


class HttpConfig(TlsTargetOptions, frozen=True, kw_only=True):
    url: Annotated[
        str | tuple[str, ...],
        Meta(description="URL to probe; a list of them adds the label `url` to every value."),
    ]
    timeout: Annotated[
        Seconds,
        Meta(
            description="Seconds a request may take, redirects and body included; times 1000 the "
            "value of a failed check."
        ),
    ] = 10.0
    connect_timeout: Annotated[
        Seconds | None, Meta(description="Seconds for connecting and TLS; default: `timeout`.")
    ] = None
    read_timeout: Annotated[
        Seconds | None,
        Meta(description="Seconds to wait for the next bytes of the answer; default: `timeout`."),
    ] = None
    total_timeout: Annotated[
        Seconds | None,
        Meta(
            description="Seconds for everything together; default: `timeout`. Where it is longer, "
            "`timeout` limits connecting and each wait for bytes, as it did in 1.x."
        ),
    ] = None
    status_code: Annotated[
        int | str | tuple[int | str, ...] | None,
        Meta(
            description="Status that counts as success after redirects, or a list of them; `2xx` "
            "stands for all of a hundred. Default: 200 to 299."
        ),
    ] = None
    proxy: Annotated[
        Secret | None,
        Meta(
            description="URL of the proxy, with user and password if it wants them; an empty text "
            "uses none. Default: the proxy of the environment."
        ),
    ] = None
    method: Annotated[str, Meta(description="Method of the request.")] = "GET"
    headers: Annotated[
        dict[str, Secret],
        Meta(
            description="Headers of the request. Those that may hold a secret are not sent to "
            "another host, port or scheme after a redirect."
        ),
    ] = msgspec.field(default_factory=dict)
    body: Annotated[str | None, Meta(description="Body of the request.")] = None
    follow_redirects: Annotated[bool, Meta(description="Whether to follow redirects.")] = True
    max_redirects: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Number of redirects to follow at most.")
    ] = MAX_REDIRECTS
    client_cert: Annotated[
        FilePath | None, Meta(description="File with the client certificate in PEM.")
    ] = None
    client_key: Annotated[
        FilePath | None, Meta(description="File with its key; default: it is in `clientCert`.")
    ] = None
    basic_auth: Annotated[
        BasicAuth | None, Meta(description="Credentials for basic authentication.")
    ] = None
    bearer_token: Annotated[Secret | None, Meta(description="Token sent as bearer token.")] = None
    match: Annotated[
        str | None, Meta(description="Regular expression that the body must match somewhere.")
    ] = None
    not_match: Annotated[
        str | None, Meta(description="Regular expression that the body must not match anywhere.")
    ] = None
    max_body_size: Annotated[
        Annotated[int, Meta(gt=0)], Meta(description="Bytes of body to accept at most.")
    ] = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """What one request brought."""

    code: ResultCode
    seconds: float
    response: Response | None = None
    #: Why it failed, without secrets.
    reason: str = ""
    #: What sort of failure it is, whatever the text says.
    kind: Hashable = None


class HttpSource(Source[HttpConfig]):
    """Response time of URLs; one request per URL and probe, side by side."""

    config_type = HttpConfig
    target_option = "url"
    target_prefix = "http://"
    metrics = (*ONE_URL, *BY_URL)

    def __init__(self, config: HttpConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._metrics = ONE_URL if isinstance(config.url, str) else BY_URL
        urls = (config.url,) if isinstance(config.url, str) else tuple(dict.fromkeys(config.url))
        if not urls:
            raise ConfigError("expected at least one URL", key="url")
        self._urls = tuple(check_url(url) for url in urls)
        self._statuses = parse_statuses(config.status_code)
        self._match = _compile(config.match, "match")
        self._not_match = _compile(config.not_match, "notMatch")
        self._total_seconds = config.total_timeout or config.timeout
        self._client: HttpClient
        self._closing = contextlib.ExitStack()

    def expected_metrics(self) -> Sequence[Metric]:
        of_tls = (self._metrics.cert_expiry, self._metrics.tls_version)
        is_plain = all(url.startswith("http:") for url in self._urls)
        return [each for each in self._metrics if not is_plain or each not in of_tls]

    def open(self) -> None:
        config = self.config
        auth = config.basic_auth
        client = HttpClient(
            timeout=self._total_seconds,
            connect_timeout=config.connect_timeout or config.timeout,
            read_timeout=config.read_timeout or config.timeout,
            headers={name: value.reveal() for name, value in config.headers.items()},
            user=auth.username if auth else "",
            password=auth.password if auth else "",
            token=config.bearer_token,
            **config.tls_files(self.context.config_dir, config.client_cert, config.client_key),
            server_name=config.server_name or "",
            # An empty text is a wish of its own.
            proxy=None if config.proxy is None else config.proxy.reveal(),
            max_body_bytes=config.max_body_size,
            max_redirects=config.max_redirects,
            ip_version=None if config.ip_protocol == "any" else config.ip_protocol,
            # A kept connection would hide what it takes to get one.
            keep_alive=False,
        )
        self._client = self._closing.enter_context(client)

    def probe(self) -> Iterable[Sample]:
        checks = side_by_side(self._check, self._urls, self.config.parallel)
        self._client.cookies.clear()
        for url, check in zip(self._urls, checks, strict=True):
            self._tell(url, check)
        return [
            sample
            for url, check in zip(self._urls, checks, strict=True)
            for sample in self._report(check, url)
        ]

    def close(self) -> None:
        self._closing.close()

    def deadline_seconds(self) -> float:
        return longest_seconds(len(self._urls), self.config.parallel, self._total_seconds)

    def _check(self, url: str) -> Check:
        begin = time.monotonic()
        try:
            response = self._client.request(
                self.config.method,
                url,
                data=self.config.body,
                statuses=None,
                follow_redirects=self.config.follow_redirects,
            )
        except ProbeError as error:
            reason = str(error).removeprefix(f"{redact_url(url)}: ")
            kind = (type(error.__cause__), getattr(error.__cause__, "errno", None))
            return Check(classify(error), time.monotonic() - begin, None, reason, kind)
        seconds = time.monotonic() - begin
        status = response.status
        if status not in self._statuses:
            reason = f"status {status}, expected {self._expected_status()}"
            return Check(ResultCode.STATUS_MISMATCH, seconds, response, reason, status)
        if option := self._mismatch(response):
            reason = f"the body is not as `{option}` asks for"
            return Check(ResultCode.BODY_MISMATCH, seconds, response, reason, option)
        return Check(ResultCode.SUCCESS, seconds, response)

    def _tell(self, url: str, check: Check) -> None:
        if check.code is ResultCode.SUCCESS:
            self.troubles.works(url)
        else:
            # The URL is the key: without their secrets two may look the same.
            self.troubles.failed(url, check.reason, (check.code, check.kind), shown=redact_url(url))

    def _expected_status(self) -> str:
        wanted = self.config.status_code
        several = wanted if isinstance(wanted, tuple) else ("2xx" if wanted is None else wanted,)
        return " or ".join(str(each) for each in several)

    def _mismatch(self, response: Response) -> str:
        """Return the option that the body does not agree with, or nothing."""
        if self._match is not None and not self._match.search(response.text()):
            return "match"
        if self._not_match is not None and self._not_match.search(response.text()):
            return "notMatch"
        return ""

    def _report(self, check: Check, url: str) -> Iterable[Sample]:
        metrics = self._metrics
        labels = () if metrics is ONE_URL else (url_label(url),)
        good = check.code is ResultCode.SUCCESS
        seconds = check.seconds if good else self.config.timeout
        yield metrics.response_time.sample(seconds * MILLISECONDS, *labels)
        yield metrics.success.sample(good, *labels)
        if not self.config.details:
            return
        yield metrics.result_code.sample(check.code, *labels)
        response = check.response
        yield metrics.status_code.sample(response.status if response else 0, *labels)
        if response is not None:
            yield from _report_response(metrics, response, labels)
            if self._match is not None or self._not_match is not None:
                mismatch = check.code is ResultCode.BODY_MISMATCH
                yield metrics.failed_regex.sample(mismatch, *labels)


def _report_response(
    metrics: HttpMetrics, response: Response, labels: tuple[str, ...]
) -> Iterable[Sample]:
    for phase in PHASES:
        seconds = sum(getattr(each, f"{phase}_seconds") for each in response.exchanges)
        yield metrics.phase.sample(seconds, *labels, phase)
    yield metrics.redirects.sample(len(response.exchanges) - 1, *labels)
    yield metrics.content_length.sample(content_length(response.headers), *labels)
    yield metrics.body_bytes.sample(len(response.body), *labels)
    final = response.exchanges[-1]
    yield metrics.http_version.sample(final.http_version, *labels)
    yield metrics.ip_protocol.sample(6 if ":" in final.address else 4, *labels)
    yield metrics.ssl.sample(bool(final.tls_version), *labels)
    if final.tls_version:
        yield metrics.tls_version.sample(1, *labels, final.tls_version.replace("TLSv", "TLS "))
    expiry = earliest_expiry(final.certificates)
    if expiry is not None:
        yield metrics.cert_expiry.sample(expiry, *labels)
    modified = parse_date(response.headers.get("Last-Modified", ""))
    if modified is not None:
        yield metrics.last_modified.sample(modified, *labels)


def classify(error: ProbeError) -> ResultCode:
    """Return the result code for an error of the HTTP client; its cause tells."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return ResultCode.TIMEOUT
    if isinstance(cause, socket.gaierror):
        return ResultCode.DNS_ERROR
    if is_tls_error(cause):
        return ResultCode.TLS_ERROR
    if isinstance(error, BadResponse):
        return ResultCode.BODY_READ_ERROR
    return ResultCode.CONNECTION_FAILED


@functools.lru_cache(maxsize=64)
def parse_statuses(wanted: int | str | tuple[int | str, ...] | None) -> frozenset[int]:
    """Return the status codes that count as success; raises `ConfigError`.

    Sources that want the same share them: those of `2xx` take 8 KB.
    """
    if wanted is None:
        wanted = "2xx"
    good: set[int] = set()
    for each in wanted if isinstance(wanted, tuple) else (wanted,):
        text = str(each).strip().lower()
        if re.fullmatch(r"[1-5]xx", text):
            start = int(text[0]) * 100
            good.update(range(start, start + 100))
        elif re.fullmatch(r"[1-9]\d\d", text):
            good.add(int(text))
        else:
            raise ConfigError(f"expected a status like 204 or 2xx, got {each!r}", key="statusCode")
    return frozenset(good)


def content_length(headers: Mapping[str, str]) -> int:
    """Return the announced size of the body in bytes, -1 if there is none."""
    length = parse_whole(headers.get("Content-Length", ""))
    return -1 if length is None else length


def _compile(pattern: str | None, key: str) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"expected a regular expression: {error}", key=key) from error
