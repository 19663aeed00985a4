"""Source `Ping`: round trip times, loss and jitter of ICMP echoes to one or many hosts.

All hosts are asked at the same time, `count` requests each, `spacing` seconds apart, over one
socket per version of IP; a probe takes (count - 1) x spacing + `replyTimeout` at most, and less
when all replies are there. A host that starts or stops answering is logged, with the
reason where the system has one. Without root, see `pollect_sources_network.icmp`. Needs no library.
"""

import contextlib
import itertools
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from msgspec import Meta

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    ConfigError,
    Headline,
    Host,
    Metric,
    Panel,
    Sample,
    Seconds,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.connect import ROOM_SECONDS
from pollect.support.options import IpProtocol
from pollect_sources_network.icmp import Address, EchoSocket
from pollect_sources_network.parallel import side_by_side

#: At the begin of every payload: a raw socket gets the replies of other programs as well.
_MARK_BYTES = 8
#: Sequence numbers have 16 bits.
MAX_REQUESTS = 65_535
#: Names resolved at the same time.
_RESOLVERS = 8
_FAMILIES = {"any": socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}

SUCCESS = Metric(
    "success",
    help="1 when at least one reply came, 0 when none.",
    labels=("host",),
    panel=YES_IS_GOOD,
)
LOSS = Metric(
    "loss_ratio",
    help="Part of the requests without a reply, 0 to 1.",
    unit="ratio",
    labels=("host",),
    headline=Headline("lost"),
    panel=Panel(minimum=0, maximum=1),
)
RTT = Metric(
    "rtt_seconds",
    help="Round trip time in seconds, as min, mean and max over one probe.",
    unit="seconds",
    labels=("host", "stat"),
    headline=Headline("round trip", {"stat": "mean"}),
)
JITTER = Metric(
    "jitter_seconds",
    help="Mean difference between one round trip time and the next in seconds.",
    unit="seconds",
    labels=("host",),
)
SENT = Metric("sent", help="Requests sent in one probe.", labels=("host",), panel=DETAIL)
RECEIVED = Metric("received", help="Replies received in one probe.", labels=("host",), panel=DETAIL)
STDDEV = Metric(
    "rtt_stddev_seconds",
    help="Standard deviation of the round trip time in seconds.",
    unit="seconds",
    labels=("host",),
    panel=DETAIL,
)
TTL = Metric(
    "ttl", help="Hop limit of the last reply as it arrived.", labels=("host",), panel=DETAIL
)
RESOLVE = Metric(
    "resolve_seconds",
    help="Seconds that resolving the name took.",
    unit="seconds",
    labels=("host",),
    panel=DETAIL,
)
IP_PROTOCOL = Metric(
    "ip_protocol", help="4 or 6, the version of IP used.", labels=("host",), panel=DETAIL
)


class PingConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[
        Host | tuple[Host, ...], Meta(description="Name or address to ping, or a list of them.")
    ]
    count: Annotated[
        Annotated[int, Meta(ge=1, le=1000)], Meta(description="Requests per host and probe.")
    ] = 4
    spacing: Annotated[
        Annotated[float, Meta(ge=0.01)], Meta(description="Seconds between two requests.")
    ] = 0.25
    reply_timeout: Annotated[
        Seconds, Meta(description="Seconds to wait for replies after the last request.")
    ] = 2.0
    size: Annotated[
        Annotated[int, Meta(ge=_MARK_BYTES, le=65_000)], Meta(description="Bytes of payload.")
    ] = 56
    ip_protocol: Annotated[IpProtocol, Meta(description="Version of IP to use.")] = "any"


@dataclass(slots=True)
class Target:
    """One host during one probe; times in seconds."""

    host: str
    #: As `getaddrinfo` gives it; empty when the name is unknown.
    address: Address = ()
    family: socket.AddressFamily = socket.AF_INET
    resolve_seconds: float = 0.0
    sent: int = 0
    #: Sequence number of the request -> round trip time.
    round_trips: dict[int, float] = field(default_factory=dict)
    ttl: int | None = None
    #: Why there can be no reply, where the system said so.
    reason: str = ""


class PingSource(Source[PingConfig]):
    """Round trip times of ICMP echoes; `count` packets per host and probe."""

    config_type = PingConfig
    target_option = "host"
    metrics = (SUCCESS, LOSS, RTT, JITTER, SENT, RECEIVED, STDDEV, TTL, RESOLVE, IP_PROTOCOL)

    def __init__(self, config: PingConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        hosts = (config.host,) if isinstance(config.host, str) else config.host
        if not hosts or not all(hosts):
            raise ConfigError("expected at least one host, and none of them empty", key="host")
        self._hosts = tuple(dict.fromkeys(hosts))
        if len(self._hosts) * config.count > MAX_REQUESTS:
            raise ConfigError(f"expected at most {MAX_REQUESTS} requests per probe", key="count")

    def open(self) -> None:
        # Nothing is kept, but who lacks the permission should hear of it at the start.
        family = socket.AF_INET6 if self.config.ip_protocol == 6 else socket.AF_INET
        with contextlib.suppress(OSError):
            EchoSocket(family).close()

    def probe(self) -> Iterable[Sample]:
        targets = side_by_side(self._resolve, self._hosts, _RESOLVERS)
        with _Round(self.config, [target for target in targets if target.address]) as echoes:
            echoes.run(self.context.stopping.is_set)
        for target in targets:
            self._tell(target)
        return [sample for target in targets for sample in self._report(target)]

    def deadline_seconds(self) -> float:
        config = self.config
        sending = (config.count - 1) * config.spacing
        resolving = ROOM_SECONDS * -(-len(self._hosts) // _RESOLVERS)
        return max(sending + config.reply_timeout + resolving, config.timeout or 0.0)

    def _resolve(self, host: str) -> Target:
        target = Target(host)
        begin = time.monotonic()
        family = _FAMILIES[self.config.ip_protocol]
        try:
            found = socket.getaddrinfo(host, None, family, socket.SOCK_DGRAM)
        except (socket.gaierror, UnicodeError) as error:
            target.reason = getattr(error, "strerror", None) or str(error)
            return target
        target.resolve_seconds = time.monotonic() - begin
        target.family, target.address = found[0][0], found[0][4]
        return target

    def _tell(self, target: Target) -> None:
        if target.round_trips:
            self.troubles.works(target.host)
        elif target.sent == self.config.count or not target.address:
            # Otherwise pollect was about to stop, and did not wait.
            self.troubles.failed(target.host, target.reason or "no reply", target.reason)

    def _report(self, target: Target) -> Iterator[Sample]:
        host = target.host
        times = [target.round_trips[number] for number in sorted(target.round_trips)]
        lost = 1 - len(times) / target.sent if target.sent else 1.0
        yield SUCCESS.sample(bool(times), host)
        yield LOSS.sample(lost, host)
        if times:
            mean = sum(times) / len(times)
            yield RTT.sample(min(times), host, "min")
            yield RTT.sample(mean, host, "mean")
            yield RTT.sample(max(times), host, "max")
            if len(times) > 1:
                yield JITTER.sample(mean_difference(times), host)
        if not self.config.details:
            return
        yield SENT.sample(target.sent, host)
        yield RECEIVED.sample(len(times), host)
        if target.address:
            yield RESOLVE.sample(target.resolve_seconds, host)
            yield IP_PROTOCOL.sample(6 if target.family == socket.AF_INET6 else 4, host)
        if times:
            variance = sum((each - mean) ** 2 for each in times) / len(times)
            yield STDDEV.sample(variance**0.5, host)
        if target.ttl is not None:
            yield TTL.sample(target.ttl, host)


class _Round:
    """The echoes of one probe: requests in step, replies as they come."""

    def __init__(self, config: PingConfig, targets: Sequence[Target]) -> None:
        self._config = config
        self._targets = targets
        self._mark = os.urandom(_MARK_BYTES)
        self._payload = self._mark.ljust(config.size, b"p")
        #: Sequence number -> whose request it is and when it left.
        self._waiting: dict[int, tuple[Target, float]] = {}
        self._closing = contextlib.ExitStack()
        self._selector = self._closing.enter_context(selectors.DefaultSelector())
        self._sockets: dict[socket.AddressFamily, EchoSocket] = {}

    def __enter__(self) -> Self:
        try:
            for family in {target.family for target in self._targets}:
                # Without IPv6 on this host, say, its requests are lost.
                try:
                    echo = self._closing.enter_context(contextlib.closing(EchoSocket(family)))
                except OSError as error:
                    self._fail(family, error)
                else:
                    self._selector.register(echo, selectors.EVENT_READ, echo)
                    self._sockets[family] = echo
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Return when every request has its reply, or had its time."""
        begin = time.monotonic()
        last = begin
        for number in range(self._config.count):
            self._receive_until(begin + number * self._config.spacing, wait_for_all=False)
            if is_stopping():
                return
            last = time.monotonic()
            self._send(number)
        self._receive_until(last + self._config.reply_timeout, wait_for_all=True)

    def _fail(self, family: socket.AddressFamily, error: OSError) -> None:
        for target in self._targets:
            if target.family == family:
                target.reason = error.strerror or str(error)

    def _send(self, number: int) -> None:
        for index, target in enumerate(self._targets):
            sequence = index * self._config.count + number
            target.sent += 1
            self._waiting[sequence] = (target, time.perf_counter())
            echo = self._sockets.get(target.family)
            if echo is None:
                continue
            # A network that is down, or an error that an earlier request brought back: it is lost.
            try:
                echo.send(target.address, sequence, self._payload)
            except OSError as error:
                target.reason = error.strerror or str(error)

    def _receive_until(self, end: float, *, wait_for_all: bool) -> None:
        while (left := end - time.monotonic()) > 0:
            if wait_for_all and not self._waiting:
                return
            if not self._sockets:
                return
            for key, _ in self._selector.select(left):
                self._take_replies(key.data)

    def _take_replies(self, echo: EchoSocket) -> None:
        while True:
            try:
                reply = echo.receive()
            except BlockingIOError:
                return
            except OSError:  # an unreachable host, reported to the socket: there is no reply
                continue
            arrived = time.perf_counter()
            if reply is None or not reply.payload.startswith(self._mark):
                continue
            # No one waits for the second copy of a reply.
            target, left_at = self._waiting.pop(reply.sequence, (None, 0.0))
            if target is not None:
                target.round_trips[reply.sequence] = arrived - left_at
                target.ttl = reply.ttl


def mean_difference(times: Sequence[float]) -> float:
    """Return the mean of how much each time differs from the one before."""
    pairs = list(itertools.pairwise(times))
    return sum(abs(later - earlier) for earlier, later in pairs) / len(pairs)
