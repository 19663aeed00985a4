"""What the source and the writer of Kafka share: options, settings of librdkafka, its errors.

Protocol: https://kafka.apache.org/protocol. The library (confluent-kafka, which holds librdkafka)
is imported by `load_kafka`; the extras `pollect-writers[kafka]` and
`pollect-sources-network[kafka]` bring it.
"""

import logging
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

from msgspec import Meta

from pollect.errors import ConfigError, MissingDependency
from pollect.plugin import Host
from pollect.support.brokers import BrokerError, BrokerOptions, check_sign_in
from pollect.support.connect import split_host_port
from pollect.support.options import ClientTls

DEFAULT_TOPIC: Final = "pollect"
#: The header of a message that names its batch, see `pollect.support.batches.message_id`.
ID_HEADER: Final = "pollect-id"

# The options that source and writer share, each described once.
Servers: TypeAlias = Annotated[
    tuple[Annotated[Host, Meta(min_length=1)], ...],
    Meta(min_length=1, description="Brokers of one cluster to begin with, as `host:9092`."),
]
Topic: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Topic that keeps the messages."),
]
Mechanism: TypeAlias = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    Meta(description="How the user signs in; `PLAIN` shows the password to whoever listens."),
]


class KafkaOptions(BrokerOptions, Protocol):
    """The options of a source or writer that say how to connect."""

    @property
    def mechanism(self) -> str: ...


def check_options(options: KafkaOptions) -> None:
    """Refuse what is not an address, and a password without a user; raises `ConfigError`."""
    for index, server in enumerate(options.servers):
        try:
            split_host_port(server)
        except ValueError as error:
            raise ConfigError(
                f"expected host:port, got {server.rpartition('@')[2]!r}", key=f"servers[{index}]"
            ) from error
    check_sign_in(options)


def load_kafka(requirement: str) -> Any:
    """Return the library; raises `MissingDependency`, `requirement` being what pip takes."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise MissingDependency(
            f"confluent-kafka is not installed; install {requirement!r}", requirement=requirement
        ) from error
    return confluent_kafka


class Trouble:
    """What librdkafka says of its connections: in our log for debugging only, and the last reason.

    It goes on trying by itself and would complain at every attempt.
    """

    def __init__(self, options: KafkaOptions, log: logging.Logger) -> None:
        self.place = ",".join(options.servers)
        self._log = log
        self._reason = ""
        self._authentication = False
        #: Whether no broker can be reached.
        self.away = False

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Take a line of its log; what the library calls a logger has this method."""
        self._log.debug(text, *arguments)

    def note(self, error: Any) -> None:
        """Take an error of a connection: the library's `error_cb`."""
        name = error.name()
        if name == "_ALL_BROKERS_DOWN":
            self.away = True
            return
        self._reason = describe_error(error)
        self._authentication = name in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED")
        self.away |= self._authentication

    def as_error(self, error: Any = None) -> BrokerError:
        """Return why something failed, the reason of the connection first."""
        reason = self._reason or (describe_error(error) if error is not None else "no answer")
        return BrokerError(f"{self.place}: {reason}", authentication=self._authentication)


def client_settings(
    options: KafkaOptions, folder: Path, timeout_seconds: float, trouble: Trouble
) -> dict[str, Any]:
    """Return settings of librdkafka for a client; files are found from `folder`.

    Raises `BrokerError` when a file is missing or unreadable.
    """
    milliseconds = max(1000, round(timeout_seconds * 1000))
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(options.servers),
        "client.id": "pollect",
        "logger": trouble,
        "error_cb": trouble.note,
        "socket.connection.setup.timeout.ms": milliseconds,
        "reconnect.backoff.max.ms": 2000,
        "topic.metadata.refresh.interval.ms": 30_000,
    }
    if options.user:
        settings |= {
            "sasl.mechanism": options.mechanism,
            "sasl.username": options.user,
            "sasl.password": options.password.reveal(),
        }
    if options.tls is not None:
        settings |= _tls_settings(options.tls, folder)
    protocol = "SSL" if options.tls is not None else "PLAINTEXT"
    settings["security.protocol"] = f"SASL_{protocol}" if options.user else protocol
    return settings


def describe_error(error: Any) -> str:
    """Return an error of the library in one line, without the address that it begins with."""
    text = " ".join(str(error.str()).split())
    # `sasl_ssl://10.0.0.5:9093/bootstrap: SSL handshake failed: ... (after 3ms in state CONNECT)`
    first, colon, rest = text.partition(": ")
    if colon and ("://" in first or "/" in first):
        text = rest
    return text.partition(" (after ")[0][:200] or error.name()


def _tls_settings(tls: ClientTls, folder: Path) -> dict[str, Any]:
    files = tls.files(folder)
    settings: dict[str, Any] = {"enable.ssl.certificate.verification": files["verify"]}
    named = {
        "ssl.ca.location": files["ca_file"],
        "ssl.certificate.location": files["client_cert"],
        "ssl.key.location": files["client_key"] or files["client_cert"],
    }
    for setting, file in named.items():
        if file is None:
            continue
        try:
            with file.open("rb"):  # names the file, unlike librdkafka
                settings[setting] = str(file)
        except OSError as error:
            raise BrokerError(f"cannot use the files of `tls`: {file}: {error.strerror}") from error
    return settings
