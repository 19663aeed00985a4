"""Tokens as values: what is in the reply of an account, and how a file holds it."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from pollect.errors import BadResponse
from pollect.plugin import Clock, Secret

#: A number of seconds above this is a moment, not a duration.
_FIRST_MOMENT = 1e9
#: A token that claims to live longer, or without end, is asked for again after this time.
_LONGEST_LIFE_SECONDS = 10 * 365 * 86_400.0
#: A token is renewed this long before it ends.
EARLY_SECONDS = 60.0
#: JSON knows integers of any length.
_BEYOND_ALL_TIMES = 1e300


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What an account gave out: an access token, and perhaps one to renew it with."""

    access: Secret
    refresh: Secret | None = None
    #: Unix time in seconds; None for a token that lasts until it is revoked.
    expires_at: float | None = None
    #: What the file keeps besides, by the names it has there.
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at!r})"


class TokenFormat(Protocol):
    """How a token looks in its file: a JSON object."""

    def read(self, data: Mapping[str, Any]) -> Token:
        """Return the token in a file; raises `BadResponse` if it contains none."""

    def write(self, token: Token) -> Mapping[str, Any]:
        """Return what the file is to hold."""


class OAuthFormat:
    """The names of an OAuth reply, with `expires_in` as Unix time, as pollect 1.x wrote it."""

    def read(self, data: Mapping[str, Any]) -> Token:
        refresh = data.get("refresh_token")
        expiry = data.get("expires_in")
        names = ("access_token", "refresh_token", "expires_in")
        return Token(
            access=secret_of(data.get("access_token"), "access_token"),
            refresh=secret_of(refresh, "refresh_token") if refresh else None,
            # A duration, as other programs write it, says nothing without its start: renew.
            expires_at=_number(expiry, below=_FIRST_MOMENT) if expiry is not None else None,
            extra={name: value for name, value in data.items() if name not in names},
        )

    def write(self, token: Token) -> Mapping[str, Any]:
        data = {"token_type": "Bearer", **token.extra, "access_token": token.access.reveal()}
        if token.refresh is not None:
            data["refresh_token"] = token.refresh.reveal()
        if token.expires_at is not None:
            data["expires_in"] = int(token.expires_at)
        return data


def token_of_reply(reply: object, clock: Clock, *, keep: Mapping[str, Any] | None = None) -> Token:
    """Return the token in the reply of an OAuth token endpoint; `keep` goes into the file with it.

    Raises `BadResponse` when it is not such a reply. Never quotes it.
    """
    if not isinstance(reply, Mapping):
        raise BadResponse("token reply: expected a JSON object")
    refresh = reply.get("refresh_token")
    lifetime = reply.get("expires_in")
    return Token(
        access=secret_of(reply.get("access_token"), "access_token"),
        refresh=secret_of(refresh, "refresh_token") if refresh else None,
        expires_at=None if lifetime is None else moment_of_expiry(lifetime, clock),
        extra=dict(keep or {}),
    )


def moment_of_expiry(lifetime: object, clock: Clock) -> float:
    """Return the Unix time at which a token ends that lives `lifetime` seconds from now.

    A service may send text for a number. What makes no sense counts as over: the token is used
    once, and the next request renews it.
    """
    seconds = _number(lifetime, below=0.0)
    return clock.time() + min(seconds, _LONGEST_LIFE_SECONDS)


def secret_of(value: object, name: str) -> Secret:
    """Return a token that can be sent in a header; raises `BadResponse` with its `name`."""
    if not isinstance(value, str) or not value:
        raise BadResponse(f"{name}: expected text, got {type(value).__name__}")
    if not (value.isascii() and value.isprintable()):
        raise BadResponse(f"{name}: expected printable ASCII characters only")
    return Secret(value)


def ends_soon(token: Token, clock: Clock) -> bool:
    """Whether it is time to renew a token."""
    return token.expires_at is not None and token.expires_at - EARLY_SECONDS <= clock.time()


def is_over(token: Token, clock: Clock) -> bool:
    """Whether a token is no longer good."""
    return token.expires_at is not None and token.expires_at <= clock.time()


def _number(value: object, *, below: float) -> float:
    """Return a finite number; 0 for anything else, or for one that is not above `below`."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if below < value < _BEYOND_ALL_TIMES else 0.0
