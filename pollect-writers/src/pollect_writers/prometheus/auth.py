"""Who may see the metrics: passwords, kept as hashes, and a bearer token.

A password is hashed with scrypt (RFC 7914) and written as a PHC string,
`$scrypt$ln=14,r=8,p=1$SALT$HASH` with base64 without padding; `pollect hash-password` makes one.
Hashing takes 50 ms and 16 MiB on purpose, so what was right once is remembered, for the life of the
process, as a keyed digest. Whoever guesses gets one hash at a time and a short queue for it: beyond
that the answer is 503, at once.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from pollect.api import ConfigError
from pollect.support.http_server import Later, Pending, Request, Response, is_token
from pollect_writers.prometheus.config import AuthConfig

_LOG2_N, _BLOCK_SIZE, _PARALLEL = 14, 8, 1
_SALT_BYTES, _HASH_BYTES = 16, 32
#: What an entry of a config may ask for at most: 2**17 rounds take 128 MiB.
_MAX_LOG2_N, _MAX_BLOCK_SIZE, _MAX_PARALLEL = 17, 16, 4
#: Requests that may wait for a hash, the one that is hashed included.
_MAX_WAITING = 12
_RETRY_SECONDS = 1
_BUSY = Response(
    b"too many passwords are being checked, try again\n",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    headers={"Retry-After": str(_RETRY_SECONDS)},
    close=True,
)
_PHC = re.compile(r"\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


class PasswordHash(NamedTuple):
    log2_n: int
    block_size: int
    parallel: int
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read a PHC string. Raises `ValueError`."""
        match = _PHC.fullmatch(text)
        if match is None:
            raise ValueError("expected $scrypt$ln=14,r=8,p=1$SALT$HASH")
        log2_n, block_size, parallel = (int(number) for number in match.groups()[:3])
        if not (
            0 < log2_n <= _MAX_LOG2_N
            and 0 < block_size <= _MAX_BLOCK_SIZE
            and 0 < parallel <= _MAX_PARALLEL
        ):
            raise ValueError("asks for more work than a scrape may cost")
        try:
            salt, digest = (_decode(part) for part in match.groups()[3:])
        except binascii.Error as error:
            raise ValueError("salt or hash is not base64") from error
        return cls(log2_n, block_size, parallel, salt, digest)

    @classmethod
    def of(cls, password: str) -> "PasswordHash":
        """Hash a password with a new salt."""
        salt = os.urandom(_SALT_BYTES)
        empty = cls(_LOG2_N, _BLOCK_SIZE, _PARALLEL, salt, b"\0" * _HASH_BYTES)
        return empty._replace(hash=empty.apply(password.encode()))

    def apply(self, password: bytes) -> bytes:
        """Return the hash of `password` with the salt and cost of this one."""
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=1 << self.log2_n,
            r=self.block_size,
            p=self.parallel,
            # Twice what RFC 7914 needs; the default is too small for larger costs.
            maxmem=2 * 128 * self.block_size * ((1 << self.log2_n) + self.parallel),
            dklen=len(self.hash),
        )

    def __str__(self) -> str:
        costs = f"ln={self.log2_n},r={self.block_size},p={self.parallel}"
        return f"$scrypt${costs}${_encode(self.salt)}${_encode(self.hash)}"


class Gate:
    """Lets requests in or answers what it needs."""

    def __init__(self, config: AuthConfig) -> None:
        """Raises `ConfigError` when there is no way in, or a hash cannot be read."""
        self._users: dict[str, PasswordHash] = {}
        for name, text in config.users.items():
            try:
                self._users[name] = PasswordHash.parse(text.reveal())
            except ValueError as error:
                raise ConfigError(
                    f"not a password hash: {error}",
                    key=f"auth.users.{name}",
                    hint="make one with `pollect hash-password`",
                ) from error
        self._token = config.token.reveal()
        if not self._users and not self._token:
            raise ConfigError(
                "no users and no token configured", key="auth", hint="set `users` or `token`"
            )
        # An unknown name must take as long as a known one: it costs what a user's hash costs,
        # always the same user's, and no password gives these random bytes.
        self._decoys = [
            known._replace(salt=os.urandom(len(known.salt)), hash=os.urandom(len(known.hash)))
            for known in self._users.values()
        ]
        self._digest_key = os.urandom(_HASH_BYTES)
        self._known: dict[str, bytes] = {}
        self._places = threading.BoundedSemaphore(_MAX_WAITING)

    def answer(
        self, request: Request, enter: Callable[[], Response | Pending]
    ) -> Response | Later | Pending:
        """Return what `enter` makes of a request that may, a refusal for any other.

        Passwords are hashed one at a time, in the thread for what takes long: whoever guesses
        takes neither all cores nor all memory.
        """
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        credentials = credentials.strip()
        match scheme.lower():
            case "bearer" if is_token(credentials, self._token):
                return enter()
            case "basic" if self._users:
                return self._answer_basic(credentials, request, enter)
        return self._refusal()

    def _answer_basic(
        self, credentials: str, request: Request, enter: Callable[[], Response | Pending]
    ) -> Response | Later | Pending:
        try:
            name_bytes, colon, password = base64.b64decode(credentials, validate=True).partition(
                b":"
            )
            name = name_bytes.decode()
        except ValueError:  # not base64, or not UTF-8
            return self._refusal()
        if not colon:
            return self._refusal()
        digest = hmac.digest(self._digest_key, password, "sha256")
        known = self._known.get(name)
        if known is not None and hmac.compare_digest(known, digest):
            return enter()
        if not self._places.acquire(blocking=False):
            return _BUSY
        expected = self._users.get(name) or self._decoy(name_bytes)

        def hash_and_answer() -> Response | Pending:
            try:
                right = not request.is_gone() and hmac.compare_digest(
                    expected.apply(password), expected.hash
                )
            finally:
                self._places.release()
            if not right or name not in self._users:
                return self._refusal()
            self._known[name] = digest
            return enter()

        return Later(hash_and_answer)

    def _refusal(self) -> Response:
        wanted = ['Basic realm="pollect", charset="UTF-8"'] if self._users else []
        if self._token:
            wanted.append('Bearer realm="pollect"')
        return Response(
            b"a password or a token is needed\n",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": ", ".join(wanted)},
        )

    def _decoy(self, name: bytes) -> PasswordHash:
        """Return the same hash for the same unknown name, with the costs of one of the users."""
        number = int.from_bytes(hmac.digest(self._digest_key, name, "sha256"), "big")
        return self._decoys[number % len(self._decoys)]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
