"""What sources and writers of brokers share: options, the error of a broker, who we are there."""

import socket
import zlib
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta

from pollect.errors import (
    AuthenticationFailed,
    ConfigError,
    PollectError,
    ProbeError,
    TargetUnavailable,
)
from pollect.plugin import Seconds, Secret
from pollect.support.options import ClientTls

User: TypeAlias = Annotated[str | None, Meta(description="User name.")]
Password: TypeAlias = Annotated[Secret, Meta(description="Password of the user.")]
Tls: TypeAlias = Annotated[ClientTls | None, Meta(description="Connect with TLS.")]
Timeout: TypeAlias = Annotated[
    Seconds, Meta(description="Seconds that the broker may take to connect, and for an answer.")
]
Origin: TypeAlias = Annotated[
    Annotated[str, Meta(min_length=1, max_length=200)] | None,
    Meta(
        description="What distinguishes this daemon from others that write here; default: host and "
        "number."
    ),
]


class BrokerOptions(Protocol):
    """The options that say how to connect to any broker."""

    # Frozen structs only have what can be read.
    @property
    def servers(self) -> tuple[str, ...]: ...
    @property
    def user(self) -> str | None: ...
    @property
    def password(self) -> Secret: ...
    @property
    def tls(self) -> ClientTls | None: ...


class BrokerError(PollectError):
    """A broker is away, refuses something, or lacks what we need; worth another try later."""

    def __init__(self, reason: str, *, authentication: bool = False) -> None:
        super().__init__(reason)
        #: Whether it refuses the credentials.
        self.authentication = authentication

    def as_probe_error(self) -> ProbeError:
        """Return the same for a source."""
        return (AuthenticationFailed if self.authentication else TargetUnavailable)(str(self))


def check_sign_in(options: BrokerOptions) -> None:
    """Refuse a password without a user; raises `ConfigError`."""
    if options.password and not options.user:
        raise ConfigError("expected the user of the password", key="user")


def default_origin(folder: Path) -> str:
    """Return what tells the daemon with this folder of its config from all others: host and number.

    It stays the same over restarts.
    """
    host = socket.gethostname().partition(".")[0][:32]
    return f"{host}-{zlib.crc32(str(folder.absolute()).encode(errors='replace')):08x}"
