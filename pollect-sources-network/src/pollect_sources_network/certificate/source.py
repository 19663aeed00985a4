"""Source `Certificate`: days until the certificate of a TLS server, or one in a file, expires.

One TCP connection and handshake per certificate and probe, a second one with `details` to ask
OpenSSL for its verdict. A certificate is reported however bad it is: expired, self-signed, of
another host, with a chain that is incomplete. Where there is none `success` is 0 and the days are
withdrawn; the log tells once why. STARTTLS goes by `starttls` or by the scheme of the URL. Needs
no openssl program, and no library but cryptography for PKCS#12 (extra `certificate`).
"""

import contextlib
from collections.abc import (
    Iterable,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Meta

from pollect.api import (
    DETAIL,
    MOMENT,
    YES_IS_GOOD,
    Alert,
    ConfigError,
    FilePath,
    Headline,
    Host,
    Metric,
    Panel,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.connect import Deadline, check_server_name, describe_failure
from pollect.support.options import TlsTargetOptions
from pollect.support.proxies import Proxy, parse_proxy
from pollect.support.urls import check_url, url_label
from pollect_sources_network.certificate.files import is_pkcs12, read_chain, require_pkcs12
from pollect_sources_network.certificate.handshake import (
    VERIFIED,
    Presented,
    Target,
    fetch_chain,
    fetch_verdict,
)
from pollect_sources_network.certificate.starttls import PLAIN_PORTS, TLS_PORTS
from pollect_sources_network.parallel import longest_seconds, side_by_side
from pollect_sources_network.x509 import (
    Certificate,
    earliest_expiry,
    parse_certificate,
)

SECONDS_PER_DAY = 86_400
MILLISECONDS = 1000.0


class _Metrics(NamedTuple):
    days: Metric
    success: Metric
    not_after: Metric
    not_before: Metric
    seconds: Metric
    chain_days: Metric
    valid: Metric
    verify_code: Metric
    handshake: Metric
    info: Metric


def _declare(*labels: str) -> _Metrics:
    def metric(
        name: str, help: str, unit: str = "", more: tuple[str, ...] = (), **hints: Any
    ) -> Metric:
        return Metric(name, help=help, unit=unit, labels=(*labels, *more), **hints)

    return _Metrics(
        days=metric(
            "cert_expire_days",
            "Whole days until the certificate expires, negative once it has.",
            "days",
            headline=Headline("expires in"),
            panel=Panel(amber=30, red=14),
            alert=Alert("CertificateExpires", "the certificate expires soon", below=14),
        ),
        success=metric(
            "success", "1 when a certificate was found, good or bad, 0 when not.", panel=YES_IS_GOOD
        ),
        not_after=metric(
            "cert_not_after",
            "Unix time in seconds when it expires.",
            "seconds",
            panel=MOMENT.needing("details"),
        ),
        not_before=metric(
            "cert_not_before",
            "Unix time in seconds when it becomes valid.",
            "seconds",
            panel=MOMENT.needing("details"),
        ),
        seconds=metric("cert_expire_seconds", "Seconds until it expires.", "seconds", panel=DETAIL),
        chain_days=metric(
            "chain_expire_days",
            "Whole days until the first certificate of the chain, as sent, expires.",
            "days",
            alert=Alert("CertificateChainExpires", "its chain expires soon", below=14),
            panel=DETAIL,
        ),
        valid=metric(
            "cert_valid",
            "1 when the certificate can be trusted, 0 when not.",
            headline=Headline("trusted"),
            panel=YES_IS_GOOD.needing("details", "verify"),
        ),
        verify_code=metric(
            "verify_code",
            "OpenSSL's verdict: 0 fine, 9 not yet valid, 10 expired, 18 self-signed, 19 or 20 "
            "issuer unknown, 62 or 64 wrong host or address.",
            panel=Panel(
                needs=(
                    "details",
                    "verify",
                )
            ),
        ),
        handshake=metric(
            "handshake_ms",
            "Time to connect and shake hands in milliseconds.",
            "milliseconds",
            panel=DETAIL,
        ),
        info=metric(
            "cert_info",
            "Always 1; the labels describe the certificate.",
            "",
            ("subject", "issuer", "serial", "sans", "fingerprint_sha256", "key", "tls"),
            panel=DETAIL,
        ),
    )


_ONE = _declare()
_BY_URL = _declare("url")


class CertificateConfig(TlsTargetOptions, frozen=True, kw_only=True):
    url: Annotated[
        str | None,
        Meta(
            description="Where the certificate is, as https://host:port; smtp, lmtp, imap, pop3, "
            "ldap, ftp, postgres, mysql and xmpp as schemes mean STARTTLS, smtps, imaps, pop3s, "
            "ldaps TLS at once."
        ),
    ] = None
    host: Annotated[Host | None, Meta(description="Host, when there is no `url`.")] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="TCP port of `host`; default: 443, or that of `starttls`."),
    ] = None
    urls: Annotated[
        tuple[str, ...],
        Meta(description="Instead of `url`: several, distinguished by the label `url`."),
    ] = ()
    file: Annotated[
        FilePath | None,
        Meta(
            description="Instead of `url`: a certificate, or a chain of them, in PEM, DER or "
            "PKCS#12 (.p12, .pfx)."
        ),
    ] = None
    file_password: Annotated[
        Secret | None, Meta(description="Password of a `file` in PKCS#12.")
    ] = None
    starttls: Annotated[
        Literal["smtp", "lmtp", "imap", "pop3", "ldap", "ftp", "postgres", "mysql", "xmpp"] | None,
        Meta(description="Protocol to speak before TLS; default: by the scheme of the URL."),
    ] = None
    server_name: Annotated[
        str | None,
        Meta(
            description="Name to ask for and to expect in the certificate, with xmpp the domain; "
            "default: the host."
        ),
    ] = None
    proxy: Annotated[
        Secret | None,
        Meta(
            description="Proxy to connect through, as http://user:password@host:port or "
            "socks5h://host; default, and with an empty text: none, whatever the environment says."
        ),
    ] = None
    timeout: Annotated[
        Seconds, Meta(description="Seconds that connecting, STARTTLS and handshake may take.")
    ] = 10.0
    verify: Annotated[
        bool,
        Meta(
            description="Whether `details` hold OpenSSL's verdict, which takes a second "
            "connection; the days are reported in any case."
        ),
    ] = True


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one certificate."""

    leaf: Certificate
    presented: Presented
    #: None when it was not asked for, or when there was no answer.
    verify_code: int | None = None


class CertificateSource(Source[CertificateConfig]):
    """Days until certificates expire; one handshake per certificate and probe."""

    config_type = CertificateConfig
    target_option = "url"
    target_prefix = "https://"
    metrics = (*_ONE, *_BY_URL)

    def __init__(self, config: CertificateConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._metrics = _BY_URL if config.urls else _ONE
        if config.server_name:
            check_server_name(config.server_name)
        self._proxy = self._parse_proxy()
        #: Label values -> where it is.
        self._targets = self._build_targets()
        self._ca_file = config.tls_files(context.config_dir)["ca_file"]

    def expected_metrics(self) -> Sequence[Metric]:
        return self._metrics

    def open(self) -> None:
        for target in self._targets.values():
            if isinstance(target, Path):
                # A file that is not there yet is the business of a probe.
                with contextlib.suppress(OSError):
                    if is_pkcs12(target.read_bytes()):
                        require_pkcs12()
        # Only the verdict needs it, which would be missing without a word.
        if self._ca_file is not None and not self._ca_file.exists():
            raise TargetUnavailable(f"{self._ca_file}: no such file")

    def probe(self) -> Iterable[Sample]:
        checks = side_by_side(self._check, list(self._targets.values()), self.config.parallel)
        return [
            sample
            for check, labels in zip(checks, self._targets, strict=True)
            for sample in self._report(check, labels)
        ]

    def deadline_seconds(self) -> float:
        return longest_seconds(len(self._targets), self.config.parallel, self.config.timeout)

    def _parse_proxy(self) -> Proxy | None:
        if not self.config.proxy:
            return None
        proxy = parse_proxy(self.config.proxy.reveal())
        if proxy.scheme == "https":
            raise ConfigError("expected a proxy of http or SOCKS", key="proxy")
        return proxy

    def _build_targets(self) -> dict[tuple[str, ...], Target | Path]:
        config = self.config
        given = [key for key in ("url", "host", "urls", "file") if getattr(config, key)]
        if not given:
            raise ConfigError("expected `url`, `host`, `urls` or `file`", key="url")
        if config.urls:
            return {
                (url_label(url),): self._target_of(url, f"urls[{index}]")
                for index, url in enumerate(config.urls)
            }
        if config.url:
            return {(): self._target_of(config.url, "url")}
        if config.host:
            port = config.port or (PLAIN_PORTS[config.starttls] if config.starttls else 443)
            return {(): self._build_target(config.host, port, config.starttls or "")}
        return {(): self.context.config_dir / (config.file or "")}

    def _target_of(self, url: str, key: str) -> Target:
        check_url(url, key=key, schemes=(*TLS_PORTS, *PLAIN_PORTS))
        parts = urlsplit(url)
        starttls = self.config.starttls or (parts.scheme if parts.scheme in PLAIN_PORTS else "")
        port = parts.port or {**TLS_PORTS, **PLAIN_PORTS}[parts.scheme]
        return self._build_target(parts.hostname or "", port, starttls)

    def _build_target(self, host: str, port: int, starttls: str) -> Target:
        config = self.config
        name = config.server_name or host
        return Target(host, port, name, starttls, self._proxy, config.ip_protocol)

    def _check(self, target: Target | Path) -> Check | None:
        deadline = Deadline(self.config.timeout)
        try:
            if isinstance(target, Path):
                presented = self._read_file(target)
            else:
                presented = fetch_chain(target, deadline)
            leaf = parse_certificate(presented.chain[0])
        except (OSError, ProbeError) as error:
            problem = describe_failure(error) if isinstance(error, OSError) else error
            self.troubles.failed(str(target), problem)
            return None
        self.troubles.works(str(target))
        code = None
        if isinstance(target, Target) and self.config.details and self.config.verify:
            # The server may have gone meanwhile: no verdict then.
            with contextlib.suppress(OSError, ProbeError):
                code = fetch_verdict(target, deadline, self._ca_file)
        return Check(leaf, presented, code)

    def _read_file(self, path: Path) -> Presented:
        password = self.config.file_password
        chain = read_chain(path.read_bytes(), password.reveal() if password else "")
        return Presented(chain, handshake_seconds=0.0)

    def _report(self, check: Check | None, labels: tuple[str, ...]) -> Iterable[Sample]:
        metrics = self._metrics
        yield metrics.success.sample(check is not None, *labels)
        if check is None:
            return
        leaf = check.leaf
        now = self.context.clock.time()
        yield metrics.days.sample(whole_days(leaf.not_after - now), *labels)
        if not self.config.details:
            return
        yield metrics.not_after.sample(leaf.not_after, *labels)
        yield metrics.not_before.sample(leaf.not_before, *labels)
        yield metrics.seconds.sample(leaf.not_after - now, *labels)
        earliest = earliest_expiry(check.presented.chain)
        if earliest is not None:
            yield metrics.chain_days.sample(whole_days(earliest - now), *labels)
        if check.verify_code is not None:
            yield metrics.valid.sample(check.verify_code == VERIFIED, *labels)
            yield metrics.verify_code.sample(check.verify_code, *labels)
        if check.presented.handshake_seconds:
            milliseconds = check.presented.handshake_seconds * MILLISECONDS
            yield metrics.handshake.sample(milliseconds, *labels)
        yield metrics.info.sample(
            1,
            *labels,
            leaf.subject,
            leaf.issuer,
            leaf.serial,
            ",".join(leaf.alt_names),
            leaf.fingerprint_sha256,
            leaf.key,
            check.presented.tls_version,
        )


def whole_days(seconds: float) -> int:
    """Return whole days, truncated toward zero: 3.5 days ago is -3."""
    return int(seconds / SECONDS_PER_DAY)
