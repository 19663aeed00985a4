"""Requests through gufo-snmp (extra `snmp`), whose packet code is native.

The library takes IP addresses only, has no retries, and answers a refused request with an empty
mapping; `Agent` is built around that. Observed with 0.13: it ignores answers to other requests, and
each of those restarts its own timer, hence the limit here, and no timer there.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pollect.api import (
    AuthenticationFailed,
    Clock,
    MissingDependency,
    ProbeError,
    TargetUnavailable,
)
from pollect_sources_network.snmp.agent import NoAnswer, RequestTooLarge, Undecodable
from pollect_sources_network.snmp.config import Address, Security
from pollect_sources_network.snmp.values import Value

if TYPE_CHECKING:
    from gufo.snmp import User
    from gufo.snmp.aio import SnmpSession

T = TypeVar("T")

#: RFC 3414, section 2.2.3: an agent refuses messages whose clock is 150 seconds off.
TIME_WINDOW_SECONDS = 150.0


class NativeTransport:
    """One UDP socket; connects at the first request."""

    def __init__(
        self,
        address: Address,
        security: Security,
        *,
        timeout_seconds: float,
        max_repetitions: int,
        clock: Clock,
    ) -> None:
        """Import the library; raises `MissingDependency`."""
        try:
            import gufo.snmp
            import gufo.snmp.aio
        except ImportError as error:
            raise MissingDependency(
                "SNMP needs the library gufo-snmp: pip install 'pollect-sources-network[snmp]'; "
                "without it `backend: snmpget` uses the program of the Debian package snmp",
                requirement="pollect-sources-network[snmp]",
            ) from error
        self._library: Any = gufo.snmp
        self._address = address
        self._security = security
        self._timeout_seconds = timeout_seconds
        self._max_repetitions = max_repetitions
        self._clock = clock
        self._session: SnmpSession | None = None
        self._last_refresh = 0.0

    async def get(self, oids: Sequence[str]) -> dict[str, Value]:
        await self._connect()
        return await self._exchange(lambda session: session.get_many(oids))

    async def walk(self, oid: str) -> AsyncIterator[tuple[str, Value]]:
        await self._connect()
        cells: list[AsyncIterator[tuple[str, Value]]] = []

        def next_cell(session: "SnmpSession") -> Awaitable[tuple[str, Value]]:
            if not cells:
                cells.append(session.fetch(oid))
            return cells[0].__anext__()

        try:
            while True:
                yield await self._exchange(next_cell)
        except StopAsyncIteration:
            return
        finally:
            cells.clear()

    async def reset(self) -> None:
        self._session = None

    async def close(self) -> None:
        self._session = None

    async def _connect(self) -> None:
        """Make or refresh the session as needed."""
        now = self._clock.monotonic()
        if self._session is None:
            ip = await resolve_host(self._address, self._timeout_seconds)
            self._session = self._build_session(ip)
            self._last_refresh = float("-inf")
        if self._security.version == "3" and now - self._last_refresh > TIME_WINDOW_SECONDS / 2:
            try:
                await self._exchange(lambda session: session.refresh())
            except ProbeError:
                self._session = None
                raise
            self._last_refresh = now

    def _build_session(self, ip: str) -> "SnmpSession":
        version = {"1": "v1", "2c": "v2c", "3": "v3"}[self._security.version]
        try:
            session: SnmpSession = self._library.aio.SnmpSession(
                addr=ip,
                port=self._address.port,
                community=self._security.community.reveal(),
                engine_id=self._security.engine_id or None,
                user=self._build_user() if version == "v3" else None,
                version=self._library.SnmpVersion[version],
                timeout=None,
                max_repetitions=self._max_repetitions,
            )
        except OSError as error:
            raise TargetUnavailable(f"{self._address}: {error}") from error
        return session

    def _build_user(self) -> "User":
        """Return the user; the library makes keys of the phrases when it knows the engine."""
        library, security = self._library, self._security
        auth_key = privacy_key = None
        if security.level != "noAuthNoPriv":
            auth_type = {
                "MD5": library.Md5Key,
                "SHA": library.Sha1Key,
                "SHA224": library.Sha224Key,
                "SHA256": library.Sha256Key,
                "SHA384": library.Sha384Key,
                "SHA512": library.Sha512Key,
            }[security.auth_protocol]
            auth_key = auth_type(security.auth_pass_phrase.reveal().encode())
        if security.level == "authPriv":
            privacy_type = {
                "DES": library.DesKey,
                "AES": library.Aes128Key,
                "AES192": library.Aes192Key,
                "AES256": library.Aes256Key,
            }[security.privacy_protocol.removesuffix("C")]
            privacy_key = privacy_type(security.privacy_pass_phrase.reveal().encode())
        is_cisco = security.privacy_protocol.endswith("C")
        expansion = library.KeyExpansion.Cisco if is_cisco else library.KeyExpansion.Blumenthal
        user: User = library.User(
            security.user, auth_key=auth_key, priv_key=privacy_key, key_expansion=expansion
        )
        return user

    async def _exchange(self, request: Callable[["SnmpSession"], Awaitable[T]]) -> T:
        """Await one request within the time limit, with the library's errors mapped."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                # `_connect` came before; a local name would keep the session in the traceback.
                return await request(cast("SnmpSession", self._session))
        except (OSError, self._library.SnmpError) as error:
            _forget_tracebacks(error)
            raise self._mapped(error) from error

    def _mapped(self, error: Exception) -> ProbeError:
        library, where = self._library, self._address
        match error:
            case TimeoutError():
                # A closed port is a time-out for the library; its text is on the inner error.
                reason = str(error.__cause__ or "") or (
                    f"no answer within {self._timeout_seconds:g} s{self._security.silence_hint}"
                )
                return NoAnswer(f"{where}: {reason}")
            case OSError():
                return NoAnswer(f"{where}: {error.strerror or error}")
            case library.SnmpAuthError():
                return AuthenticationFailed(
                    f"{where}: the agent refuses user {self._security.user!r}, "
                    f"its pass phrase, or security level {self._security.level}"
                )
            case library.SnmpEncodeError():
                return RequestTooLarge(f"{where}: {error}")
            case _:
                return Undecodable(f"{where}: expected an SNMP message, got {error}")


async def resolve_host(address: Address, timeout_seconds: float) -> str:
    """Return the IP address of an agent; raises `TargetUnavailable`."""
    if address.is_literal:
        return address.host
    family = socket.AF_INET6 if address.is_ipv6_only else socket.AF_UNSPEC
    try:
        async with asyncio.timeout(timeout_seconds):
            found = await asyncio.get_running_loop().getaddrinfo(
                address.host, address.port, family=family, type=socket.SOCK_DGRAM
            )
    except TimeoutError as error:
        raise TargetUnavailable(f"{address.host}: name resolution hangs") from error
    except OSError as error:
        raise TargetUnavailable(f"{address.host}: {error.strerror}") from error
    return str(found[0][4][0])


def _forget_tracebacks(error: BaseException | None) -> None:
    """Let an error go of the frames below it, which hold the session.

    The library closes a socket with the last reference to its session, and errors are kept for
    status pages.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
