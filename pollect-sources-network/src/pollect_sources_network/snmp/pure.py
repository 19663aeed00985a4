"""Requests through the library snmp (extra `snmp`), which is written in Python.

For what gufo-snmp cannot put on the wire: it sends every scoped PDU with an empty context name, and
its connected socket does not see what comes from another address. A probe of 100 objects costs 9
ms of processor time here and 0.6 ms there, so nothing else takes this way. The library drops what
it cannot read without a word: such an answer is no answer here.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from pollect.api import AuthenticationFailed, BadResponse, MissingDependency, TargetUnavailable
from pollect_sources_network.snmp.agent import NoAnswer, RequestTooLarge
from pollect_sources_network.snmp.config import Address, Security
from pollect_sources_network.snmp.native import resolve_host
from pollect_sources_network.snmp.values import Value

#: The largest datagram there is; the library is content with one Ethernet frame otherwise.
MTU = 65_535
_TOO_BIG, _AUTHORIZATION_ERROR = 1, 16
#: The agent says by report that it has no such context, or not now (RFC 3413, section 3.2).
_CONTEXT_REPORTS = ("1.3.6.1.6.3.12.1.4.0", "1.3.6.1.6.3.12.1.5.0")


class PureTransport:
    """One UDP socket that takes answers from any address; opened at the first request."""

    def __init__(
        self,
        address: Address,
        security: Security,
        *,
        timeout_seconds: float,
        max_repetitions: int,
    ) -> None:
        """Import the library; raises `MissingDependency`."""
        try:
            import snmp.async_engine
            import snmp.pdu
            import snmp.security.usm.auth
            import snmp.smi
            import snmp.v3.manager
        except ImportError as error:
            raise MissingDependency(
                "`contextName` and `unconnected` need the library snmp: "
                "pip install 'pollect-sources-network[snmp]'; without it `backend: snmpget` uses "
                "the program of the Debian package snmp",
                requirement="pollect-sources-network[snmp]",
            ) from error
        self._library: Any = snmp
        self._address = address
        self._security = security
        self._timeout_seconds = timeout_seconds
        self._max_repetitions = max_repetitions
        self._engine: Any = None
        self._manager: Any = None

    async def get(self, oids: Sequence[str]) -> dict[str, Value]:
        pdu = self._library.pdu
        try:
            bindings = await self._exchange(lambda manager: manager.get(*oids, **self._limits()))
        except pdu.ErrorResponse:
            return {}
        except pdu.ImproperResponse as error:
            # Some agents answer with objects more or fewer than were asked for.
            bindings = error.variableBindings
        found = ((str(each.name), self._value(each.value)) for each in bindings)
        return {oid: value for oid, value in found if value is not None}

    async def walk(self, oid: str) -> AsyncIterator[tuple[str, Value]]:
        below, last = oid + ".", oid
        end_of_view = self._library.smi.EndOfMibView
        while rows := await self._next(last):
            for each in rows:
                last = str(each.name)
                if not last.startswith(below) or isinstance(each.value, end_of_view):
                    return
                value = self._value(each.value)
                if value is not None:
                    yield last, value

    async def reset(self) -> None:
        if self._engine is None:
            return
        self._engine.multiplexor.close()
        for sockets in self._engine.transports.values():
            for each in sockets.values():
                each.close()
        self._engine = self._manager = None

    async def close(self) -> None:
        await self.reset()

    async def _next(self, oid: str) -> list[Any]:
        """Return the objects that follow one; none at the end of what the agent has."""
        pdu = self._library.pdu
        limits = self._limits()
        try:
            if self._security.version == "1":
                rows = await self._exchange(lambda manager: manager.getNext(oid, **limits))
            else:
                limits["maxRepetitions"] = self._max_repetitions
                rows = await self._exchange(lambda manager: manager.getBulk(oid, **limits))
        except pdu.NoSuchName:
            return []
        except pdu.ErrorResponse as error:
            text = f"{self._address}: the agent refuses to walk on from {oid}: {error.status.name}"
            raise (RequestTooLarge if error.status == _TOO_BIG else BadResponse)(text) from error
        except pdu.ImproperResponse as error:
            raise BadResponse(
                f"{self._address}: what the agent says to follow {oid} does not follow it"
            ) from error
        return list(rows)

    def _limits(self) -> dict[str, Any]:
        """Return the options of every request; it is sent once, since retries are not made here."""
        limits: dict[str, Any] = {
            "timeout": self._timeout_seconds,
            "refreshPeriod": 2 * self._timeout_seconds,
        }
        if self._security.version == "3":
            limits["context"] = self._security.context.encode()
        return limits

    async def _exchange(self, request: Callable[[Any], Awaitable[Any]]) -> Any:
        if self._manager is None:
            await self._connect()
        try:
            return await request(self._manager)
        except asyncio.CancelledError:
            # The library would wait for the answer for ever.
            await self.reset()
            raise
        except self._library.requests.Timeout as error:
            raise NoAnswer(
                f"{self._address}: no answer within {self._timeout_seconds:g} s"
                f"{self._security.silence_hint}"
            ) from error
        except self._library.v3.manager.UnhandledReport as error:
            reason = f"reports {error.report} in place of an answer"
            if str(error.report.name) in _CONTEXT_REPORTS:
                reason = f"has no context {self._security.context!r}"
            raise BadResponse(f"{self._address}: the agent {reason}") from error
        except self._library.v3.manager.RequestError as error:
            raise self._refused() from error
        except self._library.pdu.ErrorResponse as error:
            if error.status != _AUTHORIZATION_ERROR:
                raise
            raise self._refused() from error

    def _refused(self) -> AuthenticationFailed:
        security = self._security
        what = (
            f"user {security.user!r}, its pass phrases, or security level {security.level}"
            if security.version == "3"
            else "the community"
        )
        return AuthenticationFailed(f"{self._address}: the agent refuses {what}")

    async def _connect(self) -> None:
        ip = await resolve_host(self._address, self._timeout_seconds)
        address = (ip, self._address.port)
        transport = self._library.transport
        is_ipv6 = ":" in ip
        try:
            # The library sends from a callback, where nobody learns that there is no route.
            with socket.socket(
                socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM
            ) as way:
                way.connect(address)
        except OSError as error:
            raise TargetUnavailable(f"{self._address}: {error.strerror}") from error
        domain = (
            transport.TransportDomain.UDP_IPv6 if is_ipv6 else transport.TransportDomain.UDP_IPv4
        )
        self._engine = self._library.async_engine.AsyncEngine(loop=asyncio.get_running_loop())
        self._manager = self._engine.Manager(
            address,
            version=self._library.message.ProtocolVersion[f"SNMPv{self._security.version}"],
            domain=domain,
            mtu=MTU,
            **self._credentials(),
        )

    def _credentials(self) -> dict[str, Any]:
        """Return what a manager of this version wants to know; makes the user's keys."""
        security = self._security
        if security.version != "3":
            return {"community": security.community.reveal().encode()}
        keys: dict[str, Any] = {}
        if security.level != "noAuthNoPriv":
            keys["authProtocol"] = self._auth_protocol()
            keys["authSecret"] = security.auth_pass_phrase.reveal().encode()
        if security.level == "authPriv":
            keys["privProtocol"] = self._privacy_protocol()
            keys["privSecret"] = security.privacy_pass_phrase.reveal().encode()
        self._engine.addUser(security.user, **keys)
        return {"engineID": security.engine_id or None}

    def _auth_protocol(self) -> Any:
        auth = self._library.security.usm.auth
        return {
            "MD5": auth.HmacMd5,
            "SHA": auth.HmacSha,
            "SHA224": auth.HmacSha224,
            "SHA256": auth.HmacSha256,
            "SHA384": auth.HmacSha384,
            "SHA512": auth.HmacSha512,
        }[self._security.auth_protocol]

    def _privacy_protocol(self) -> Any:
        import snmp.security.usm.cisco.priv as cisco
        import snmp.security.usm.eso.priv as eso
        import snmp.security.usm.priv as usm

        return {
            "DES": usm.DesCbc,
            "AES": usm.AesCfb128,
            "AES192": eso.EsoAesCfb192,
            "AES256": eso.EsoAesCfb256,
            "AES192C": cisco.CiscoAesCfb192,
            "AES256C": cisco.CiscoAesCfb256,
        }[self._security.privacy_protocol]

    def _value(self, value: Any) -> Value:
        """Return a value of the library as the other backends do; None if there is none."""
        smi = self._library.smi
        if isinstance(value, smi.OID):
            return str(value)
        if isinstance(value, smi.IpAddress):
            return str(value.addr)
        if isinstance(value, (smi.OctetString, smi.Opaque)):
            return bytes(value.data)
        return None if isinstance(value, smi.Null) else int(value.value)
