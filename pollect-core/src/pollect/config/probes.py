"""The section `probes` at the top of a config: what may be asked of a target over HTTP."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from pollect.plugin import SourceConfig

if TYPE_CHECKING:
    from pollect.config.targets import Blueprint

#: What a module may be called.
MODULE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LIKE_AN_ADDRESS = re.compile(r"[0-9.:*?\[\]-]+")


class ProbeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Options of a module, beside those of its source."""

    allow: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1)],
        Meta(
            description="Targets that may be asked for: names, patterns such as `*.example.org`, "
            "addresses and networks such as `10.0.0.0/8`; `*` for any."
        ),
    ]
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        Meta(description="Probes of this module at the same time; beyond, the answer is 503."),
    ] = 10
    collection: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="First part of the metric names, as that of an executor."),
    ] = "pollect"


class ProbeSection(msgspec.Struct, frozen=True):
    """One module: a source that lacks its target."""

    name: str
    blueprint: "Blueprint"
    options: ProbeOptions
    #: As it would be for one target; None where that takes a real one.
    example: SourceConfig | None


class AllowList:
    """Which hosts a module may be asked for.

    An address is allowed by a network only, and a name by a name or pattern only: what a name
    stands for is not looked up here, since it may be something else a moment later.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Raises `ValueError` for an entry that is neither a network nor a pattern of names."""
        self._any = "*" in entries
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._patterns: list[str] = []
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
                continue
            except ValueError:
                pass
            if "/" in entry or not entry.strip():
                raise ValueError(f"expected a name, a pattern or a network, got {entry!r}")
            if entry != "*" and _LIKE_AN_ADDRESS.fullmatch(entry):
                raise ValueError(f"expected a network such as 10.0.0.0/8, got {entry!r}")
            self._patterns.append(entry.lower().rstrip("."))

    def allows(self, host: str) -> bool:
        """Whether a host may be asked for, as `split_target` returns it."""
        if self._any:
            return True
        address = _address_of(host)
        if address is not None:
            return any(address in network for network in self._networks)
        name = host.lower().rstrip(".")
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a text is to those who connect, however it is written."""
    try:
        # `127.1`, `0x7f000001` and `2130706433` are addresses to the resolver.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        pass
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return None
    return address.ipv4_mapped or address
