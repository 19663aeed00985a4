"""One agent: request sizes, retries, and objects it does not have, above single requests."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Protocol

from pollect.api import AuthenticationFailed, BadResponse, Clock, ProbeError, TargetUnavailable
from pollect_sources_network.snmp.oids import SYS_UPTIME
from pollect_sources_network.snmp.values import Value

#: How long an object is left out of the requests that would spoil them.
MISSING_SECONDS = 600.0
#: Below this size it is not the size of a request that keeps it from being answered.
SMALL_REQUEST = 16
#: A walk that brings more than this goes round in circles or is not what anybody wanted.
MAX_ROWS = 20_000
_NAMED_AT_MOST = 10


class NoAnswer(TargetUnavailable):
    """Nothing came back in time."""


class Undecodable(BadResponse):
    """What came back is not an SNMP message, or holds a value of an unknown type."""


class RequestTooLarge(ProbeError):
    """The request does not fit a packet."""


class Transport(Protocol):
    """Sends single requests to one agent; raises `ProbeError` of the kinds above."""

    async def get(self, oids: Sequence[str]) -> dict[str, Value]:
        """Return the values that exist.

        Empty when the agent refused the request as a whole: too large, or, in version 1, one
        object that does not exist.
        """

    def walk(self, oid: str) -> AsyncIterator[tuple[str, Value]]:
        """Yield everything below an OID, in the agent's order."""

    async def reset(self) -> None:
        """Forget what is known of the agent: its address, its keys, its clock."""

    async def close(self) -> None:
        """Let go of sockets and files."""


@dataclass(slots=True)
class Answer:
    """The values of one round of requests and when they came."""

    values: dict[str, Value] = field(default_factory=dict)
    #: Monotonic seconds of each partial answer.
    parts: list[tuple[float, dict[str, Value]]] = field(default_factory=list)

    def add(self, values: dict[str, Value], now: float) -> None:
        """Take note of a partial answer that arrived at monotonic time `now`."""
        if values:
            self.parts.append((now, values))
            self.values = values if not self.values else {**self.values, **values}

    def time_of(self, oid: str) -> float:
        """Return the monotonic time at which the value of an OID arrived."""
        return next(now for now, values in self.parts if oid in values)


class Agent:
    """Asks one agent for any number of objects."""

    def __init__(
        self,
        transport: Transport,
        *,
        version: str,
        retries: int,
        max_oids: int,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._transport = transport
        #: SNMP 1 refuses a request with one unknown object; later versions leave it out.
        self._one_missing_spoils_all = version == "1"
        self._retries = retries
        self._max_oids = max_oids
        self._clock = clock
        self._log = log
        self._down = False
        #: Objects the agent does not have, or not in a form that can be read.
        self._missing: set[str] = set()
        #: Those of them that spoil a request, and the monotonic time until which to believe it.
        self._left_out: dict[str, float] = {}
        #: Seconds from the first request of the last round to its last answer.
        self.response_seconds = 0.0

    async def get(self, oids: Sequence[str]) -> Answer:
        """Return the values of those `oids` that exist.

        Raises `TargetUnavailable`, `AuthenticationFailed` or `BadResponse`.
        """
        started = time.perf_counter()
        wanted = oids
        if self._left_out:
            now = self._clock.monotonic()
            self._left_out = {oid: until for oid, until in self._left_out.items() if until > now}
            wanted = [oid for oid in oids if oid not in self._left_out]
        known_missing = set(self._missing)
        answer = Answer()
        try:
            start = 0
            while start < len(wanted):
                size = self._max_oids
                await self._get_chunk(wanted[start : start + size], answer)
                start += size
        except ProbeError:
            await self._went_down()
            raise
        self._down = False
        self.response_seconds = time.perf_counter() - started
        if self._missing:
            self._missing.difference_update(answer.values)
            self._name_missing(self._missing - known_missing)
        return answer

    async def walk(self, oid: str) -> dict[str, Value]:
        """Return everything below `oid`. Raises what `get` raises."""
        try:
            rows = await self._tried(lambda: self._walk_once(oid))
        except ProbeError:
            await self._went_down()
            raise
        self._down = False
        return rows

    def forget_missing(self) -> None:
        """Ask for every object again, since the device may be another one now."""
        self._missing.clear()
        self._left_out.clear()

    async def close(self) -> None:
        await self._transport.close()

    async def _walk_once(self, oid: str) -> dict[str, Value]:
        rows: dict[str, Value] = {}
        async for cell, value in self._transport.walk(oid):
            if cell in rows or len(rows) >= MAX_ROWS:
                raise BadResponse(f"the walk below {oid} does not end, seen at {cell}")
            rows[cell] = value
        return rows

    async def _get_chunk(self, oids: Sequence[str], answer: Answer) -> None:
        try:
            values = await self._tried(lambda: self._transport.get(oids))
        except NoAnswer:
            # A request larger than the agent's buffer is dropped without a word.
            if self._down or len(oids) <= SMALL_REQUEST:
                raise
            half = len(oids) // 2
            answer.add(await self._transport.get(oids[:half]), self._clock.monotonic())
            self._shrink(half)
            await self._get_chunk(oids[half:], answer)
            return
        except RequestTooLarge:
            if len(oids) == 1:
                raise
            await self._get_halves(oids, answer)
            self._shrink(len(oids) // 2)
            return
        except Undecodable:
            # A value of an unknown type spoils the message around it; a peer that talks rubbish
            # cannot tell its uptime either.
            if list(oids) == [SYS_UPTIME]:
                raise
            await self._transport.get([SYS_UPTIME])
            if len(oids) == 1:
                self._leave_out(oids[0])
            else:
                await self._get_halves(oids, answer)
            return
        answer.add(values, self._clock.monotonic())
        if values:
            if not self._one_missing_spoils_all:
                self._missing.update(filterfalse(values.__contains__, oids))
        elif self._one_missing_spoils_all:
            await self._bisect(oids, answer)
        else:
            await self._ask_beside_uptime(oids, answer)

    async def _bisect(self, oids: Sequence[str], answer: Answer) -> None:
        """Find out which of the objects SNMP 1 refused a whole request for."""
        if len(oids) == 1:
            self._leave_out(oids[0])
            return
        before = len(self._left_out)
        await self._get_halves(oids, answer)
        if len(self._left_out) == before:
            self._shrink(len(oids) // 2)

    async def _ask_beside_uptime(self, oids: Sequence[str], answer: Answer) -> None:
        """Tell an agent that has none of the objects from one that refused the request.

        Every agent has an uptime, so its absence means a refusal.
        """
        values = await self._tried(lambda: self._transport.get([SYS_UPTIME, *oids]))
        if SYS_UPTIME in values:
            answer.add(values, self._clock.monotonic())
            self._missing.update(filterfalse(values.__contains__, oids))
        elif len(oids) == 1:
            self._leave_out(oids[0])
        else:
            await self._get_halves(oids, answer)
            self._shrink(len(oids) // 2)

    async def _get_halves(self, oids: Sequence[str], answer: Answer) -> None:
        half = len(oids) // 2
        await self._get_chunk(oids[:half], answer)
        await self._get_chunk(oids[half:], answer)

    async def _tried(self, request: Callable[[], Awaitable[dict[str, Value]]]) -> dict[str, Value]:
        tries = 1 if self._down else 1 + self._retries
        is_fresh = False
        while True:
            try:
                return await request()
            except (NoAnswer, Undecodable):
                tries -= 1
                if not tries:
                    raise
                # An SNMPv3 agent that restarted has another idea of time, and what it says about
                # that is lost on the library.
                await self._transport.reset()
            except AuthenticationFailed:
                if is_fresh:
                    raise
                is_fresh = True
                await self._transport.reset()

    async def _went_down(self) -> None:
        self._down = True
        await self._transport.reset()

    def _shrink(self, size: int) -> None:
        if size < self._max_oids:
            self._max_oids = max(size, 1)
            self._log.debug("asking for %d OIDs at once from now on", self._max_oids)

    def _leave_out(self, oid: str) -> None:
        self._missing.add(oid)
        self._left_out[oid] = self._clock.monotonic() + MISSING_SECONDS

    def _name_missing(self, oids: set[str]) -> None:
        if not oids:
            return
        named = sorted(oids)[:_NAMED_AT_MOST]
        more = f" and {len(oids) - len(named)} more" if len(oids) > len(named) else ""
        self._log.warning("the agent has no value for %s%s", ", ".join(named), more)
