"""Who we are: basic, bearer and digest authentication, and the credentials of a `.netrc`."""

import base64
import functools
import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias
from urllib.parse import unquote

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"(?:\A|,)\s*(Digest)\s+", re.IGNORECASE)
_NEXT_SCHEME = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*\s+[A-Za-z]")
_Hash: TypeAlias = Callable[[bytes], "hashlib._Hash"]
_HASHES: Mapping[str, _Hash] = {
    "MD5": functools.partial(hashlib.md5, usedforsecurity=False),
    "SHA": functools.partial(hashlib.sha1, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
}


#: How long the look at a `.netrc` holds good, in seconds: every request asks.
NETRC_SECONDS = 1.0
_NETRC_FILES = ("~/.netrc", "~/_netrc")
#: Files -> when they were looked for, and which is there.
_found_netrc: dict[tuple[str, ...], tuple[float, tuple[str, int, int] | None]] = {}


class Credentials(Protocol):
    """What goes into the header `Authorization`."""

    def header(self, method: str, target: str) -> str:
        """Return its content for one request, empty for none."""

    def accept(self, challenges: list[str]) -> bool:
        """Take note of the `WWW-Authenticate` of a 401; True when trying again makes sense."""


class Fixed:
    """The same text for every request: basic or bearer."""

    def __init__(self, text: str) -> None:
        self._text = text

    def header(self, method: str, target: str) -> str:
        return self._text

    def accept(self, challenges: list[str]) -> bool:
        return False


def basic(user: str, password: str) -> Fixed:
    """Basic authentication, RFC 7617, in UTF-8."""
    return Fixed(f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")


def bearer(token: str) -> Fixed:
    """Return a bearer token, RFC 6750."""
    return Fixed(f"Bearer {token}")


class Digest:
    """Digest authentication, RFC 7616; the last challenge is answered in advance."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._challenge: dict[str, str] = {}
        self._count = 0
        self._lock = threading.Lock()

    def header(self, method: str, target: str) -> str:
        with self._lock:
            if not self._challenge:
                return ""
            self._count += 1
            return self._answer(method, target, f"{self._count:08x}")

    def accept(self, challenges: list[str]) -> bool:
        for text in challenges:
            challenge = parse_challenge(text)
            if challenge and _hash_of(challenge)[0] is not None:
                with self._lock:
                    self._challenge, self._count = challenge, 0
                return True
        return False

    def _answer(self, method: str, target: str, count: str) -> str:
        challenge = self._challenge
        realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
        hashed, is_session = _hash_of(challenge)
        assert hashed is not None  # noqa: S101 - `accept` lets no other pass

        def digest(*parts: str) -> str:
            return hashed(":".join(parts).encode()).hexdigest()

        own_nonce = secrets.token_hex(8)
        secret = digest(self._user, realm, self._password)
        if is_session:
            secret = digest(secret, nonce, own_nonce)
        request = digest(method, target)
        fields = {"username": self._user, "realm": realm, "nonce": nonce, "uri": target}
        bare = {"algorithm": challenge["algorithm"]} if "algorithm" in challenge else {}
        offered = [each.strip().lower() for each in challenge.get("qop", "").split(",")]
        if "auth" in offered:
            fields["response"] = digest(secret, nonce, count, own_nonce, "auth", request)
            fields["cnonce"] = own_nonce
            bare |= {"qop": "auth", "nc": count}
        else:
            fields["response"] = digest(secret, nonce, request)
        if "opaque" in challenge:
            fields["opaque"] = challenge["opaque"]
        quoted = [f'{name}="{_escape(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join(
            [*quoted, *(f"{name}={value}" for name, value in bare.items())]
        )


def parse_challenge(text: str) -> dict[str, str]:
    """Return the parameters of the digest challenge in a `WWW-Authenticate`; empty without one."""
    found = _SCHEME.search(text)
    if found is None:
        return {}
    rest = text[found.end() :]
    end = _NEXT_SCHEME.search(rest)
    fields = _PARAMETER.finditer(rest[: end.start()] if end else rest)
    return {
        each[1].lower(): each[3] if each[2] is None else re.sub(r"\\(.)", r"\1", each[2])
        for each in fields
    }


class Netrc:
    """Credentials for hosts from the file that `NETRC` names, else `~/.netrc` or `~/_netrc`.

    A file that changes counts within `NETRC_SECONDS`.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        named = environ.get("NETRC")
        self._files = tuple(map(os.path.expanduser, (named,) if named else _NETRC_FILES))

    def find(self, host: str) -> Fixed | None:
        """Return the credentials for a host, None without any or when the file is unusable."""
        now = time.monotonic()
        found = _found_netrc.get(self._files)
        if found is None or now - found[0] > NETRC_SECONDS:
            found = _found_netrc[self._files] = now, _stat_first(self._files)
        if found[1] is None:
            return None
        login = _login(*found[1], host)
        return basic(*login) if login else None


def _stat_first(files: tuple[str, ...]) -> tuple[str, int, int] | None:
    """Return the first file that is there, with what changes when it does."""
    for file in files:
        with suppress(OSError):
            stat = os.stat(file)
            return file, stat.st_mtime_ns, stat.st_size
    return None


def of_user_info(netloc: str) -> Fixed | None:
    """Return the credentials that stand in a URL before its host."""
    info, at, _ = netloc.rpartition("@")
    user, _, password = info.partition(":")
    return basic(unquote(user), unquote(password)) if at and info.strip(":") else None


@functools.lru_cache(maxsize=64)
def _login(path: str, changed_at: int, size: int, host: str) -> tuple[str, str] | None:
    import netrc

    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeError):
        return None
    if found is None:
        return None
    login, account, password = found
    return login or account or "", password or ""


def _hash_of(
    challenge: Mapping[str, str],
) -> "tuple[Callable[[bytes], hashlib._Hash] | None, bool]":
    """Return the hash of a challenge, None for one we do not have; and whether it is `-sess`."""
    name = challenge.get("algorithm", "MD5").upper()
    return _HASHES.get(name.removesuffix("-SESS")), name.endswith("-SESS")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
