"""Source `TcpTime`: time to establish a TCP connection, or to get the right answer over it.

The value without a name is the time in milliseconds, name resolution included; whatever goes wrong
it is `timeout` x 1000 and `success` is 0; the log tells once why, and once when it is over. With
`tls`, `send` or `expect` the check goes on after connecting; the value stays the time to connect.
UDP has no connections: there it is the time until the answer to what was sent. With `details` the
phases are reported, and `result_code` numbered as Telegraf's `net_response` (5 and 6 are ours).
Needs no library.
"""

import enum
import ipaddress
import re
import socket
import time
from collections.abc import (
    Iterable,
    Sequence,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from msgspec import Meta

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    ConfigError,
    Headline,
    Host,
    Metric,
    Sample,
    Seconds,
    Source,
    SourceContext,
)
from pollect.support.connect import (
    Deadline,
    Found,
    connect,
    open_socket,
    resolve,
    split_host_port,
    try_each,
)
from pollect.support.options import TargetOptions
from pollect_sources_network.parallel import longest_seconds, side_by_side
from pollect_sources_network.results import result_panel

if TYPE_CHECKING:
    import ssl

MILLISECONDS = 1000.0
#: More of an answer is not looked at.
MAX_ANSWER_BYTES = 64 * 1024


class ResultCode(enum.IntEnum):
    """How a check ended."""

    SUCCESS = 0
    TIMEOUT = 1
    CONNECTION_FAILED = 2
    READ_FAILED = 3
    STRING_MISMATCH = 4
    DNS_ERROR = 5
    TLS_ERROR = 6


class _Metrics(NamedTuple):
    connect_time: Metric
    success: Metric
    result_code: Metric
    phase: Metric


def _declare(*labels: str) -> _Metrics:
    return _Metrics(
        Metric(
            None,
            help="Time to connect in milliseconds, by UDP until the answer, name resolution "
            "included; the time limit when the check failed.",
            unit="milliseconds",
            labels=labels,
            headline=Headline("connects in"),
        ),
        Metric(
            "success",
            help="1 when the check went well, 0 when not.",
            labels=labels,
            headline=Headline("ok"),
            panel=YES_IS_GOOD,
        ),
        Metric(
            "result_code",
            help="How the check ended: 0 success, 1 timed out, 2 no connection, 3 no answer, 4 the "
            "answer does not match, 5 name not resolved, 6 TLS failed.",
            labels=labels,
            panel=result_panel(ResultCode),
        ),
        Metric(
            "phase_seconds",
            help="Seconds spent per phase: resolve, connect, tls and response.",
            unit="seconds",
            labels=(*labels, "phase"),
            panel=DETAIL,
        ),
    )


_ONE_HOST = _declare()
_BY_HOST = _declare("host")


class TcpTimeConfig(TargetOptions, frozen=True, kw_only=True):
    host: Annotated[
        Host, Meta(description="Name or address to connect to, or `host:port` without `port`.")
    ] = ""
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None, Meta(description="Port of `host`.")
    ] = None
    hosts: Annotated[
        tuple[Host, ...],
        Meta(
            description="Instead of `host` and `port`: several as `host:port`, each with its "
            "label `host`."
        ),
    ] = ()
    protocol: Annotated[
        Literal["tcp", "udp"],
        Meta(
            description="What to speak. By `udp` the text of `send` goes out and an answer must "
            "come; without `expect` any will do."
        ),
    ] = "tcp"
    read_timeout: Annotated[
        Seconds | None,
        Meta(
            description="Seconds of `timeout` that waiting for the answer may take; default: all."
        ),
    ] = None
    send: Annotated[str, Meta(description="Text to send, by TCP after connecting.")] = ""
    expect: Annotated[
        str, Meta(description="Regular expression that the answer must match somewhere.")
    ] = ""
    tls: Annotated[bool, Meta(description="Whether to talk TLS; nothing is verified.")] = False
    source_address: Annotated[
        Host, Meta(description="Address of this host to come from; default: the system chooses.")
    ] = ""


@dataclass(slots=True)
class Check:
    """What one check brought; phases in seconds."""

    code: ResultCode = ResultCode.SUCCESS
    #: Until there was a connection, by UDP until there was an answer.
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    #: Why it failed.
    reason: str = ""
    #: What tells one failure of the same code from another.
    errno: int | None = None


class TcpTimeSource(Source[TcpTimeConfig]):
    """Time to connect to TCP ports; one connection per port and probe."""

    config_type = TcpTimeConfig
    target_option = "host"
    metrics = (*_ONE_HOST, *_BY_HOST)

    def __init__(self, config: TcpTimeConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._metrics = _BY_HOST if config.hosts else _ONE_HOST
        #: Label values -> host and port.
        self._targets: dict[tuple[str, ...], tuple[str, int]] = {
            (text,): _parse_target(text, f"hosts[{index}]")
            for index, text in enumerate(config.hosts)
        }
        if not config.hosts:
            if not config.host:
                raise ConfigError("expected `host` with `port`, or `hosts`", key="host")
            self._targets[()] = _target_of(config.host, config.port)
        try:
            self._expect = re.compile(config.expect.encode()) if config.expect else None
        except re.error as error:
            raise ConfigError(f"expected a regular expression: {error}", key="expect") from error
        _check_combination(config)

    def expected_metrics(self) -> Sequence[Metric]:
        return self._metrics

    def probe(self) -> Iterable[Sample]:
        targets = list(self._targets.values())
        checks = side_by_side(self._check, targets, self.config.parallel)
        for target, check in zip(targets, checks, strict=True):
            self._tell(target, check)
        return [
            sample
            for check, labels in zip(checks, self._targets, strict=True)
            for sample in self._report(check, labels)
        ]

    def deadline_seconds(self) -> float:
        return longest_seconds(len(self._targets), self.config.parallel, self.config.timeout)

    def _check(self, target: tuple[str, int]) -> Check:
        check = Check()
        deadline = Deadline(self.config.timeout)
        try:
            if self.config.protocol == "udp":
                self._ask(target, deadline, check)
            else:
                self._connect(target, deadline, check)
        except OSError as error:
            _note_error(check, error, ResultCode.CONNECTION_FAILED)
        return check

    def _ask(self, target: tuple[str, int], deadline: Deadline, check: Check) -> None:
        """Exchange one datagram for another. Raises `OSError`.

        The other host reports by ICMP that no one listens, if no firewall is in between.
        """
        config = self.config

        def attempt(candidate: Found, seconds: float) -> bytes:
            waiting = min(seconds, config.read_timeout or seconds)
            with open_socket(candidate, waiting, config.source_address) as sock:
                sock.sendall(config.send.encode())
                return sock.recv(MAX_ANSWER_BYTES)

        begin = time.monotonic()
        found = resolve(*target, socket.SOCK_DGRAM, config.ip_protocol, config.source_address)
        resolved = time.monotonic()
        check.phases["resolve"] = resolved - begin
        answer = try_each(found, deadline, attempt)
        check.phases["response"] = time.monotonic() - resolved
        check.seconds = time.monotonic() - begin
        if self._expect is not None and not self._expect.search(answer):
            _note_mismatch(check)

    def _connect(self, target: tuple[str, int], deadline: Deadline, check: Check) -> None:
        """Connect, and go on over the connection as configured. Raises `OSError`."""
        config = self.config
        connection = connect(*target, deadline, config.ip_protocol, config.source_address)
        check.phases["resolve"] = connection.resolve_seconds
        check.phases["connect"] = connection.connect_seconds
        check.seconds = connection.resolve_seconds + connection.connect_seconds
        # The socket may change into one of TLS on the way; both are closed by the inner one.
        sock = connection.sock
        step = ResultCode.TLS_ERROR
        try:
            if config.tls:
                from pollect.support.tls import shake_hands

                begin = time.monotonic()
                sock.settimeout(deadline.left())
                sock = shake_hands(self._tls_context(), sock, target[0])
                check.phases["tls"] = time.monotonic() - begin
            step = ResultCode.READ_FAILED
            if config.send or self._expect is not None:
                begin = time.monotonic()
                self._talk(sock, deadline.within(config.read_timeout), check)
                check.phases["response"] = time.monotonic() - begin
        except OSError as error:
            _note_error(check, error, step)
        finally:
            sock.close()

    def _tls_context(self) -> "ssl.SSLContext":
        from pollect.support.tls import build_ssl_context  # 4 MB, and most checks do without

        return build_ssl_context(verify=False)

    def _tell(self, target: tuple[str, int], check: Check) -> None:
        part = "{} port {}".format(*target)
        if check.code is ResultCode.SUCCESS:
            self.troubles.works(part)
        else:
            self.troubles.failed(part, check.reason, (check.code, check.errno))

    def _talk(self, sock: socket.socket, deadline: Deadline, check: Check) -> None:
        """Send and wait for the right answer. Raises `OSError`."""
        if self.config.send:
            deadline.send(sock, self.config.send.encode())
        answer = b""
        while self._expect is not None and not self._expect.search(answer):
            chunk = deadline.receive(sock)
            if not chunk or len(answer) > MAX_ANSWER_BYTES:
                if answer:
                    _note_mismatch(check)
                else:
                    check.code = ResultCode.READ_FAILED
                    check.reason = "it closed the connection without an answer"
                return
            answer += chunk

    def _report(self, check: Check, labels: tuple[str, ...]) -> Iterable[Sample]:
        metrics = self._metrics
        good = check.code is ResultCode.SUCCESS
        seconds = check.seconds if good else self.config.timeout
        yield metrics.connect_time.sample(seconds * MILLISECONDS, *labels)
        yield metrics.success.sample(good, *labels)
        if self.config.details:
            yield metrics.result_code.sample(check.code, *labels)
            for phase, spent in check.phases.items():
                yield metrics.phase.sample(spent, *labels, phase)


def _note_error(check: Check, error: OSError, otherwise: ResultCode) -> None:
    check.code = _classify(error, otherwise)
    # What OpenSSL says; its errno is a number of another table.
    reason: str = getattr(error, "reason", None) or error.strerror or str(error)
    if check.code is ResultCode.TIMEOUT:
        reason = "no answer in time"
    elif check.code is ResultCode.TLS_ERROR:
        reason = f"TLS failed: {reason.replace('_', ' ').lower()}"
    check.reason, check.errno = reason or type(error).__name__, error.errno


def _note_mismatch(check: Check) -> None:
    check.code = ResultCode.STRING_MISMATCH
    # Without the answer, which may hold anything.
    check.reason = "the answer is not as `expect` asks for"


def _classify(error: OSError, otherwise: ResultCode) -> ResultCode:
    if isinstance(error, TimeoutError):
        return ResultCode.TIMEOUT
    if isinstance(error, socket.gaierror):
        return ResultCode.DNS_ERROR
    return otherwise


def _target_of(host: str, port: int | None) -> tuple[str, int]:
    if port is not None:
        return host, port
    try:
        return split_host_port(host)
    except ValueError as error:
        raise ConfigError("expected a port", key="port") from error


def _parse_target(text: str, key: str) -> tuple[str, int]:
    try:
        return split_host_port(text)
    except ValueError as error:
        raise ConfigError(f"expected host:port, got {text!r}", key=key) from error


def _check_combination(config: TcpTimeConfig) -> None:
    if config.protocol == "udp" and not config.send:
        raise ConfigError(
            "`send` is required for UDP: a server answers only to what it receives", key="send"
        )
    if config.protocol == "udp" and config.tls:
        raise ConfigError("expected `protocol: tcp`, TLS does not work over UDP", key="tls")
    if config.read_timeout is not None and config.read_timeout > config.timeout:
        raise ConfigError(
            f"expected at most `timeout`, {config.timeout:g} seconds", key="readTimeout"
        )
    if not config.source_address:
        return
    try:
        version = ipaddress.ip_address(config.source_address).version
    except ValueError as error:
        raise ConfigError(
            f"expected an address of this host, got {config.source_address!r}", key="sourceAddress"
        ) from error
    if config.ip_protocol not in ("any", version):
        raise ConfigError(f"expected an address of IPv{config.ip_protocol}", key="sourceAddress")
