"""Options of the sources and writers of NATS, each described once."""

from collections.abc import Iterable
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta

from pollect.errors import ConfigError
from pollect.plugin import Host, Secret
from pollect.support.brokers import BrokerOptions, check_sign_in
from pollect.support.urls import check_url

DEFAULT_STREAM = "pollect"
DEFAULT_SUBJECT = "pollect"

Servers: TypeAlias = Annotated[
    tuple[Annotated[Host, Meta(min_length=1)], ...],
    Meta(
        min_length=1,
        description="Addresses of the servers of one cluster, `nats://host:4222` or with `tls://`.",
    ),
]
Stream: TypeAlias = Annotated[
    str, Meta(pattern=r"^[^\s.*>/\\]+$", description="Stream that keeps the messages.")
]
Subject: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$",
        description="What all subjects begin with: `subject.collection.type[.name]`.",
    ),
]
Token: TypeAlias = Annotated[Secret, Meta(description="Token, for servers that ask for one.")]
NkeySeed: TypeAlias = Annotated[
    Secret, Meta(description="Seed of an nkey, for servers that ask for one: `SU...`.")
]
Credentials: TypeAlias = Annotated[
    str | None, Meta(description="File with the JWT and the seed of a user (`.creds`).")
]


class NatsOptions(BrokerOptions, Protocol):
    """The options of a source or writer that say how to connect."""

    @property
    def token(self) -> Secret: ...
    @property
    def nkey_seed(self) -> Secret: ...
    @property
    def credentials(self) -> str | None: ...


def check_options(options: NatsOptions) -> None:
    """Refuse malformed addresses and credentials of two kinds; raises `ConfigError`."""
    for index, server in enumerate(options.servers):
        check_url(server, key=f"servers[{index}]", schemes=("nats", "tls"), credentials=False)
    ways = {
        "user": options.user,
        "token": options.token,
        "nkeySeed": options.nkey_seed,
        "credentials": options.credentials,
    }
    given = [key for key, value in ways.items() if value]
    if len(given) > 1:
        raise ConfigError(f"expected one way to sign in, got {' and '.join(given)}", key=given[-1])
    check_sign_in(options)


def subject_of(parts: Iterable[str | None]) -> str:
    """Return a subject of these tokens, with an underscore for what a token may not hold."""
    return ".".join(
        "".join("_" if c in ".*>" or c.isspace() or not c.isprintable() else c for c in part) or "_"
        for part in parts
        if part is not None
    )
