"""Which `Host` a listener answers to, so that DNS rebinding reads nothing.

A page of an attacker can have its own name resolve to an address in the visitor's network and then
read, as its own origin, whatever answers there. The request still carries the attacker's name as
`Host`. So a listener answers only to names that no stranger can register: addresses, `localhost`,
the names of this host, names without a dot (as in `http://pollect:8000` among containers), and what
the operator lists.
"""

import re
import socket
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from pollect.plugin import Host

#: The option of every plugin that listens.
HostPatterns: TypeAlias = Annotated[
    tuple[Host, ...],
    Meta(
        description="Further host names to answer to, as in `nas.example.org` or `*.example.org`; "
        "`*` for any. Addresses, `localhost`, the names of this host and names without a dot are "
        "always allowed, other names are refused because of DNS rebinding."
    ),
]

_RESOLV_CONF = Path("/etc/resolv.conf")
_MAX_RESOLV_CONF = 64 * 1024
_V4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_V6 = re.compile(r"\[[0-9a-f:.]+(?:%[^\]]*)?\]")
_PORT = re.compile(r":[0-9]*$")


class AllowedHosts:
    """Decides on the `Host` header of a request."""

    def __init__(self, patterns: Iterable[str] = (), own: Collection[str] | None = None) -> None:
        """`own`: the names of this host; default: as the system and its resolver have them."""
        self._patterns = tuple(pattern.lower().rstrip(".") for pattern in patterns)
        self._own = frozenset(own if own is not None else names_of_this_host())

    def allows(self, host: str | None) -> bool:
        """Whether to answer a request with this header; browsers always send one."""
        if host is None:
            return True
        name = _PORT.sub("", host.strip().lower()).rstrip(".")
        return (
            ("." not in name and ":" not in name)
            or _V4.fullmatch(name) is not None
            or _V6.fullmatch(name) is not None
            or name.endswith(".localhost")
            or name in self._own
            or any(fnmatchcase(name, pattern) for pattern in self._patterns)
        )


def names_of_this_host(resolv_conf: Path = _RESOLV_CONF) -> set[str]:
    """Return the host name, alone and in the domains that this network searches.

    Asks no server: a resolver that is slow must not delay a start.
    """
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    domains = ["local", *_search_domains(resolv_conf)]
    return {name, short, *(f"{short}.{domain}" for domain in domains)}


def _search_domains(resolv_conf: Path) -> list[str]:
    try:
        with resolv_conf.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_RESOLV_CONF)
    except OSError:  # a system without a resolver has no domains
        return []
    domains: list[str] = []
    for line in text.splitlines():
        word, *names = line.split()[:16] or ("",)
        if word in ("search", "domain"):
            domains = [name.lower().strip(".") for name in names]
    return [domain for domain in domains if domain]
