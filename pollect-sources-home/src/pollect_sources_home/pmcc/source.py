"""Source `Pmcc`: Porsche Mobile Charger Connect, as the charger reports it by websocket.

`wss://HOST/ws` without sign-in, see `payload` for the messages. The charger has no network at all
while it sleeps, which is most of the day, and requests do not wake it. Its certificate is of its
own making. Needs websockets (extra `pmcc`). Not confirmed on a device.
"""

import contextlib
import hashlib
import hmac
import logging
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pollect.api import (
    DETAIL,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Headline,
    Host,
    Kind,
    Metric,
    MissingDependency,
    NoData,
    Panel,
    ProbeValue,
    Sample,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.background import BackgroundSource
from pollect.support.connect import resolve, split_host_port
from pollect.support.tls import build_ssl_context
from pollect_sources_home.pmcc.payload import Field, parse_message

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CONNECT_SECONDS = 10.0
#: Pings notice a charger that went to sleep without a word within 50 s.
PING_SECONDS = 30.0
PONG_SECONDS = 20.0
#: How long to wait for the charger's part of a good-bye.
CLOSE_SECONDS = 1.0
MESSAGE_BYTES = 1 << 20

POWER = Metric(
    "chargePower",
    help="Power: that of the vehicle (phase ev) in kW, those of the phases (l1 to l3) in W.",
    labels=("phase",),
    headline=Headline("kW", {"phase": "ev"}),
)
SOC = Metric(
    "soc",
    help="State of charge of the vehicle in percent, now and when the session started.",
    unit="percent",
    labels=("type",),
    headline=Headline("charge", {"type": "current"}),
    panel=Panel(minimum=0, maximum=100),
)
_SAMPLES: dict[Field, tuple[Metric, str]] = {
    "ev": (POWER, "ev"),
    "l1": (POWER, "l1"),
    "l2": (POWER, "l2"),
    "l3": (POWER, "l3"),
    "soc": (SOC, "current"),
    "start_soc": (SOC, "start"),
}
_DETAILS: dict[Field, Metric] = {
    "session_energy": Metric(
        "session_energy",
        help="Energy of the session in kWh (details).",
        unit="kWh",
        headline=Headline("session"),
        panel=DETAIL,
    ),
    "total_energy": Metric(
        "total_energy",
        help="Energy of all sessions in kWh, sent while a car charges (details).",
        unit="kWh",
        kind=Kind.COUNTER,
        panel=DETAIL,
    ),
    "session_duration": Metric(
        "session_duration",
        help="Duration of the session in seconds (details).",
        unit="seconds",
        panel=DETAIL,
    ),
    "charging_rate": Metric(
        "charging_rate", help="Charging rate in kW (details).", unit="kW", panel=DETAIL
    ),
    "target_soc": Metric(
        "target_soc",
        help="State of charge to be reached, in percent (details).",
        unit="percent",
        panel=DETAIL,
    ),
    "range_km": Metric(
        "range_km", help="Range of the vehicle in km (details).", unit="km", panel=DETAIL
    ),
    "wifi_signal": Metric(
        "wifi_signal",
        help="Strength of the WiFi signal in dBm (details).",
        unit="dBm",
        panel=DETAIL,
    ),
}


class PmccConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[
        Host,
        Meta(min_length=1, description="Name or address of the charger, with port if not 443."),
    ]
    verify: Annotated[
        bool, Meta(description="Check the certificate; chargers have one of their own making.")
    ] = False
    fingerprint: Annotated[
        str | None,
        Meta(description="SHA-256 of the charger's certificate in hex; no other one is accepted."),
    ] = None


class PmccSource(BackgroundSource[PmccConfig]):
    """State of charge and power of a charging session."""

    config_type = PmccConfig
    target_option = "host"
    metrics = (POWER, SOC, *_DETAILS.values())

    def __init__(self, config: PmccConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._host, self._port = _read_host(config.host)
        self._fingerprint = _read_fingerprint(config.fingerprint)
        self._lock = threading.Lock()
        self._values: dict[Field, float] = {}
        #: What cannot be read of the latest fields, and why the last message could not be read.
        self._problems: dict[Field, str] = {}
        self._broken = ""
        #: What an interruption shuts down.
        self._socket: socket.socket | None = None
        #: Whether the charger was ever there: from then on it may sleep.
        self._met = False
        self._asleep = False

    def open(self) -> None:
        try:
            import websockets.sync.client  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                "Pmcc needs the library websockets: pip install 'pollect-sources-home[pmcc]'",
                requirement="pollect-sources-home[pmcc]",
            ) from error
        # It logs a ping without an answer with its traceback; the probe reports that.
        logging.getLogger("websockets.client").setLevel(logging.CRITICAL)
        super().open()

    def probe(self) -> ProbeValue:
        try:
            value = super().probe()
        except TargetUnavailable as error:
            if not self._met:
                raise
            if not self._asleep:
                self._asleep = True
                self.log.info("asleep or away, values come with the next charging: %s", error)
            raise NoData("the charger is asleep or away") from error
        if self._asleep:
            self._asleep = False
            self.log.info("awake")
        return value

    def receive(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.ExitStack() as stack:
            connection = self._connect(stack)
            self._met = True
            with self._lock:
                # All that may have changed while the charger was away; this never counts back.
                self._values = {
                    field: value for field, value in self._values.items() if field == "total_energy"
                }
                self._problems, self._broken = {}, ""
            self.background.works()
            try:
                while not self.background.stopped:
                    # Not decoded: text that is not UTF-8 would cost the connection.
                    self._take(connection.recv(decode=False))
            except ConnectionClosed as error:
                raise TargetUnavailable(f"{self.config.host}: the connection ended") from error

    def interrupt(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is not connected, or closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    def latest(self) -> Iterable[Sample]:
        with self._lock:
            samples = list(_samples(self._values, details=self.config.details))
            problems, broken = list(self._problems.values()), self._broken
        self.troubles.note("values", problems)
        if not samples and broken:
            raise BadResponse(f"{self.config.host}: no message of a charger: {broken}")
        if not samples:
            raise NoData("connected, and nothing received yet")
        return samples

    def _take(self, message: str | bytes) -> None:
        problems: dict[Field, str] = {}
        try:
            changed = parse_message(message, problems)
        except BadResponse as error:
            self.log.debug("%s", error)
            with self._lock:
                self._broken = str(error)
            return
        self.background.works()
        shown = _SAMPLES.keys() | (_DETAILS.keys() if self.config.details else ())
        with self._lock:
            self._broken = ""
            for field, value in changed.items():
                if field in problems and field in shown:
                    self._problems[field] = problems[field]
                else:
                    self._problems.pop(field, None)
                if value is None:
                    self._values.pop(field, None)
                else:
                    self._values[field] = value

    def _connect(self, stack: contextlib.ExitStack) -> "ClientConnection":
        """Return an open websocket that `stack` closes; raises `ProbeError`."""
        from websockets.exceptions import InvalidHandshake, WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Origin

        place = self.config.host
        sock = self._wrap(self._dial())
        stack.callback(sock.close)
        self._secure(sock)
        try:
            return stack.enter_context(
                connect(
                    # Without TLS of its own: the socket has it, and its certificate was checked.
                    f"ws://{place}/ws",
                    sock=sock,
                    origin=Origin(f"https://{place}"),
                    proxy=None,
                    open_timeout=CONNECT_SECONDS,
                    close_timeout=CLOSE_SECONDS,
                    ping_interval=PING_SECONDS,
                    ping_timeout=PONG_SECONDS,
                    max_size=MESSAGE_BYTES,
                )
            )
        except TimeoutError as error:
            raise TargetUnavailable(f"{place}: no answer within {CONNECT_SECONDS:g} s") from error
        except InvalidHandshake as error:
            if isinstance(error.__cause__, EOFError | OSError):
                raise TargetUnavailable(
                    f"{place}: closed the connection before it answered"
                ) from error
            raise BadResponse(f"{place}: no websocket at /ws: {error!s:.80}") from error
        except (OSError, EOFError, WebSocketException) as error:
            raise TargetUnavailable(f"{place}: closed the connection before it answered") from error

    def _wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        """Return the socket with TLS on top, before any handshake: from now on it owns it."""
        context = build_ssl_context(verify=self.config.verify)
        sock = context.wrap_socket(plain, server_hostname=self._host, do_handshake_on_connect=False)
        self._socket = sock
        if self.background.stopped:  # an interruption may have come just before
            sock.close()
            raise TargetUnavailable("stopped")
        return sock

    def _secure(self, sock: ssl.SSLSocket) -> None:
        """Shake hands, and look at the certificate; raises `ProbeError`."""
        place = self.config.host
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.do_handshake()
            sock.settimeout(None)
        except ssl.SSLCertVerificationError as error:
            raise BadResponse(
                f"{place}: the certificate is not trusted ({error.verify_message}); set verify: "
                "false, or the fingerprint of the charger"
            ) from error
        except TimeoutError as error:
            raise TargetUnavailable(f"{place}: no answer within {CONNECT_SECONDS:g} s") from error
        except ssl.SSLEOFError as error:
            raise TargetUnavailable(f"{place}: closed the connection before it answered") from error
        except ssl.SSLError as error:
            raise BadResponse(f"{place}: no TLS here: {error.reason}") from error
        except OSError as error:
            raise TargetUnavailable(f"{place}: {error.strerror or error}") from error
        self._check_certificate(sock)

    def _dial(self) -> socket.socket:
        """Return a socket that is connected by TCP."""
        place = self.config.host
        try:
            found = resolve(self._host, self._port, socket.SOCK_STREAM)
        except socket.gaierror as error:
            self.background.slow_down()
            raise TargetUnavailable(f"{place}: the name cannot be resolved") from error
        reason = "the name has no address"
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            self._socket = sock
            try:
                if self.background.stopped:
                    raise TargetUnavailable("stopped")
                sock.settimeout(CONNECT_SECONDS / len(found))
                sock.connect(address)
            except TimeoutError:
                reason = f"no answer within {CONNECT_SECONDS:g} s"
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                sock.settimeout(None)
                return sock
            sock.close()
        # It sleeps, which takes hours; requests do not wake it.
        self.background.slow_down()
        raise TargetUnavailable(f"{place}: {reason}")

    def _check_certificate(self, sock: ssl.SSLSocket) -> None:
        if self._fingerprint is None:
            return
        found = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(found, self._fingerprint):
            raise AuthenticationFailed(
                f"{self.config.host}: the certificate has the fingerprint {found}, not that of the "
                "option fingerprint"
            )


def _samples(values: dict[Field, float], *, details: bool) -> Iterator[Sample]:
    for field, (metric, label) in _SAMPLES.items():
        if field in values:
            yield metric.sample(values[field], label)
    if details:
        for field, metric in _DETAILS.items():
            if field in values:
                yield metric.sample(values[field])


def _read_host(text: str) -> tuple[str, int]:
    if text.startswith("[") or text.count(":") == 1:
        if text.endswith("]"):
            return text[1:-1], 443
        try:
            return split_host_port(text)
        except ValueError as error:
            raise ConfigError(f"expected host or host:port, got {text!r}", key="host") from error
    if "/" in text or "@" in text or any(letter.isspace() for letter in text):
        raise ConfigError(f"expected host or host:port, got {text!r}", key="host")
    return text, 443


def _read_fingerprint(text: str | None) -> str | None:
    if text is None:
        return None
    plain = text.replace(":", "").replace(" ", "").lower()
    try:
        if len(bytes.fromhex(plain)) == hashlib.sha256().digest_size:
            return plain
    except ValueError:
        pass
    raise ConfigError(
        f"expected a SHA-256 fingerprint of 64 hex digits, got {text!r}", key="fingerprint"
    )
