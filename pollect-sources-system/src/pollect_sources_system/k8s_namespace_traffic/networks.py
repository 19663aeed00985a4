"""Destination networks: the first one in the config that contains an address wins."""

import ipaddress
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What belongs to no network.
OTHER = "other"
LOCALHOST = "localhost"
LOCALHOST_CIDRS = ("127.0.0.0/8", "::1/128")


class NamedNetwork(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A destination network."""

    name: Annotated[str, Meta(description="Value of the label `dest_network`.")]
    cidrs: Annotated[
        tuple[str, ...], Meta(description="Address ranges such as 10.0.0.0/8 or fd00::/8.")
    ]


class Networks:
    """The networks of a config, `localhost` behind them, numbered from 1; 0 is `other`."""

    def __init__(self, configured: Sequence[NamedNetwork]) -> None:
        """Raises `ValueError` for what is not an address range."""
        self.names = [OTHER, *(network.name for network in configured), LOCALHOST]
        ranges = [network.cidrs for network in configured]
        #: `(range, number)` in the order in which they are asked.
        self._ranges = [
            (ipaddress.ip_network(cidr, strict=False), number)
            for number, cidrs in enumerate([*ranges, LOCALHOST_CIDRS], start=1)
            for cidr in cidrs
        ]

    def number_of(self, address: IPAddress) -> int:
        """Return the number of the first network that contains `address`, 0 for none."""
        for network, number in self._ranges:
            if address.version == network.version and address in network:
                return number
        return 0

    def longest_prefix_table(self) -> dict[IPNetwork, int]:
        """Return a table whose longest matching prefix gives what `number_of` gives.

        The kernel looks up longest prefixes; so each range gets the number of the first network
        that contains the whole of it.
        """
        return {network: self._first_containing(network) for network, _ in self._ranges}

    def _first_containing(self, wanted: IPNetwork) -> int:
        return next(
            number
            for network, number in self._ranges
            if network.version == wanted.version
            and network.prefixlen <= wanted.prefixlen
            and wanted.network_address in network
        )
