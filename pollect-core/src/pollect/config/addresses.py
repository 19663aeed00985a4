"""What a target may look like, and its host: `router`, `10.0.0.1:161`, `[::1]:9100`, a URL.

The text comes from an inventory or from whoever asks for a probe, so it is read strictly. What two
programs could read in two ways (a user before the host, a backslash, a blank) is refused, and so is
what is a file or an option to others.
"""

import ipaddress
import re
from typing import NamedTuple

#: No address is longer, apart from those that want to be one.
LONGEST_TARGET = 2048
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: As in `udp:router:161`; `udp:161` is a host of that name.
_TRANSPORT = re.compile(r"(?:udp|tcp)[46]?:(?![0-9]+(?:[/?#]|$))", re.IGNORECASE)
_HOST = re.compile(
    r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\](?::([0-9]{1,5}))?|([\w.-]+)(?::([0-9]{1,5}))?"
)
_FORBIDDEN = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")


class Address(NamedTuple):
    """The parts of a target; a missing port is empty."""

    host: str
    port: str


def split_target(text: str) -> Address:
    """Return host and port of a target. Raises `ValueError` with what is wrong with it."""
    if not text:
        raise ValueError("expected a host or a URL, got an empty text")
    if len(text) > LONGEST_TARGET:
        raise ValueError(
            f"a target of {len(text):,} characters, at most {LONGEST_TARGET:,} are taken"
        )
    if _FORBIDDEN.search(text):
        raise ValueError("a target contains a space, a backslash or a control character")
    scheme = _SCHEME.match(text)
    if scheme is not None:
        if scheme[1].lower() == "file":
            raise ValueError("a target is a host, not a file")
        rest = text[scheme.end() :]
    else:
        transport = _TRANSPORT.match(text)
        rest = text[transport.end() :] if transport else text
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        # Not quoted: it may hold a password.
        raise ValueError("a target with a user before its host: put credentials into the section")
    if authority.startswith("-") or (not authority and rest):
        raise ValueError(f"expected a host or a URL, got {text[:80]!r}")
    if _is_bare_ipv6(authority):
        return Address(authority, "")
    match = _HOST.fullmatch(authority)
    if match is None or not (match[1] or match[3].strip(".")):
        raise ValueError(f"expected a host or a URL, got {text[:80]!r}")
    port = match[2] or match[4] or ""
    if port and not 0 < int(port) < 65536:
        raise ValueError(f"expected a port from 1 to 65535, got {port}")
    if _climbs(rest):
        raise ValueError("a target contains '..' as part of a path")
    return Address(match[1] or match[3], port)


def _climbs(text: str) -> bool:
    return ".." in re.split("[/?#]", text)


def _is_bare_ipv6(text: str) -> bool:
    if text.count(":") < 2:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
