"""A client of etcd's JSON gateway, as little of it as a fleet needs.

Protocol: the gRPC gateway of etcd 3.4 and newer under `/v3/` (etcd.io, "API reference" and "gRPC
gateway"): keys and values are base64, 64-bit numbers are text, a number that is zero is left out,
and watching is one endless answer with a JSON document a line.
"""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from pollect.errors import PollectError, describe

DEFAULT_PORT = 2379
#: gRPC's codes (INVALID_ARGUMENT, UNAUTHENTICATED) for a token that is wrong, or older than the
#: last change of users: another one may be had.
_TOKEN_CODES = (3, 16)
#: An answer to a range over a whole fleet has some 50 KB.
LONGEST_ANSWER = 64 * 1024 * 1024
#: What a peer can cause that hangs up, hangs, or is not etcd: an answer of another shape included.
_BROKEN = (
    *(OSError, http.client.HTTPException),
    *(ValueError, KeyError, TypeError, AttributeError),
)

T = TypeVar("T")


class EtcdUnavailable(PollectError):
    """No endpoint of the engine answered; worth another try."""


class EtcdRefused(PollectError):
    """The engine answered with an error."""


class Entry(NamedTuple):
    """A key, its value, and the lease that keeps it."""

    key: str
    value: str
    lease: int
    #: Revision of the engine that made this value.
    revision: int


class Snapshot(NamedTuple):
    """All keys under a prefix at one revision of the engine."""

    revision: int
    entries: tuple[Entry, ...]


class Endpoint(NamedTuple):
    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Etcd:
    """A connection to one endpoint of several, the next one whenever one fails.

    Not for use by two threads at once. Every method raises `EtcdUnavailable` when no endpoint
    answers within `timeout` seconds each, and `EtcdRefused` when one says no.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        user: str = "",
        password: str = "",
    ) -> None:
        self.timeout = timeout
        self._endpoints = list(endpoints)
        self._tls = tls
        self._user = user
        self._password = password
        self._token = ""
        self._connection: http.client.HTTPConnection | None = None
        self._watched: socket.socket | None = None

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def another(self) -> "Etcd":
        """Return a client with the same settings and a connection of its own."""
        return Etcd(
            self._endpoints,
            timeout=self.timeout,
            tls=self._tls,
            user=self._user,
            password=self._password,
        )

    def range(self, prefix: str) -> Snapshot:
        """Return everything below a prefix."""
        return self._call("kv/range", _span(prefix), _snapshot)

    def revision(self) -> int:
        """Return the revision of the last change of any key."""
        return self._call("kv/range", {"key": _encode("/"), "count_only": True}, _revision)

    def grant(self, seconds: int) -> tuple[int, int]:
        """Make a lease; return its id and the seconds it lives without being kept alive."""
        return self._call("lease/grant", {"TTL": str(seconds)}, _lease)

    def keep_alive(self, lease: int) -> int:
        """Prolong a lease; return the seconds it has from now, 0 if there is no such lease."""
        return self._call("lease/keepalive", {"ID": str(lease)}, _time_to_live)

    def remaining(self, lease: int) -> int:
        """Return the seconds a lease lives without another keepalive; -1 if it has ended."""
        return self._call("lease/timetolive", {"ID": str(lease)}, lambda answer: int(answer["TTL"]))

    def revoke(self, lease: int) -> None:
        """End a lease and with it all its keys."""
        self._call("lease/revoke", {"ID": str(lease)}, _revision)

    def create(self, values: Mapping[str, str], lease: int = 0) -> int | None:
        """Create keys, all of them or none; return the revision, None if one of them exists."""
        return self.exchange(values, dict.fromkeys(values, 0), lease)

    def replace(self, key: str, value: str, lease: int) -> None:
        """Write a key."""
        self._call("kv/put", _put(key, value, lease), _revision)

    def exchange(
        self, values: Mapping[str, str], revisions: Mapping[str, int], lease: int = 0
    ) -> int | None:
        """Write keys if each still has the revision given, all of them or none.

        0 is the revision of a key that does not exist. Returns the revision, None if one of the
        keys has another.
        """
        return self._transaction(
            [_compare(key, "MOD", "mod_revision", revisions[key]) for key in values],
            [{"request_put": _put(key, value, lease)} for key, value in values.items()],
        )

    def watch(self, prefix: str, revision: int, quiet: float) -> Generator[int, None, None]:
        """Yield the revision of every change below a prefix from `revision` on.

        Ends by `EtcdUnavailable`, also when the engine says nothing for `quiet` seconds, and at
        `abort()`.
        """
        request = {**_span(prefix), "start_revision": str(revision)}
        endpoint, connection = self._endpoints[0], self._connect(self._endpoints[0])
        try:
            connection.connect()
            self._watched = connection.sock
            self._authenticate(connection)
            with self._send(connection, "watch", {"create_request": request}) as answer:
                self._watched.settimeout(quiet)
                while line := answer.readline():
                    result = json.loads(line).get("result", {})
                    if result.get("canceled"):
                        break
                    if result.get("events"):
                        yield _revision(result)
        except _BROKEN as error:
            raise _unavailable(endpoint, error) from error
        except _TokenRefused as error:
            raise EtcdUnavailable(f"etcd at {endpoint}: {error}") from error
        finally:
            self._watched = None
            connection.close()
        raise EtcdUnavailable(f"etcd at {endpoint} ended the watch")

    def abort(self) -> None:
        """End `watch`; the one method that another thread may call."""
        watched = self._watched
        if watched is not None:
            with suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)

    def _transaction(
        self, compare: Sequence[Mapping[str, Any]], success: Sequence[Mapping[str, Any]]
    ) -> int | None:
        return self._call("kv/txn", {"compare": compare, "success": success}, _done_at)

    def _call(self, path: str, body: Mapping[str, Any], parse: Callable[[Any], T]) -> T:
        try:
            return self._ask(path, body, parse)
        except _TokenRefused:
            self._token = ""
        try:
            return self._ask(path, body, parse)
        except _TokenRefused as error:
            raise EtcdRefused(f"etcd refuses user {self._user!r}: {error}") from error

    def _ask(self, path: str, body: Mapping[str, Any], parse: Callable[[Any], T]) -> T:
        """Ask the endpoints in turn, from the one that answered last."""
        failure: EtcdUnavailable | None = None
        for _ in range(len(self._endpoints)):
            try:
                return self._ask_one(path, body, parse)
            except EtcdUnavailable as error:
                failure = error
                self.close()
                self._endpoints.append(self._endpoints.pop(0))
        raise failure or EtcdUnavailable("etcd has no endpoint")

    def _ask_one(self, path: str, body: Mapping[str, Any], parse: Callable[[Any], T]) -> T:
        endpoint = self._endpoints[0]
        reused = self._connection is not None
        connection = self._connection = self._connection or self._connect(endpoint)
        try:
            self._authenticate(connection)
            return parse(self._read(self._send(connection, path, body)))
        except _BROKEN as error:
            self.close()
            if reused and isinstance(error, ConnectionError | http.client.BadStatusLine):
                # The engine closed a connection that was idle: that says nothing of the engine.
                return self._ask_one(path, body, parse)
            raise _unavailable(endpoint, error) from error

    def _connect(self, endpoint: Endpoint) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=self.timeout, context=self._tls
            )
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=self.timeout)

    def _authenticate(self, connection: http.client.HTTPConnection) -> None:
        if self._user and not self._token:
            credentials = {"name": self._user, "password": self._password}
            answer = self._read(self._send(connection, "auth/authenticate", credentials))
            self._token = str(answer["token"])

    def _send(
        self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any]
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
        return connection.getresponse()

    def _read(self, answer: http.client.HTTPResponse) -> Mapping[str, Any]:
        data = json.loads(answer.read(LONGEST_ANSWER))
        if not isinstance(data, Mapping):
            raise ValueError(f"expected a JSON object, got {type(data).__name__}")
        if answer.status < 300:
            return data
        message, code = str(data.get("error") or data.get("message")), data.get("code")
        if self._token and code in _TOKEN_CODES:
            raise _TokenRefused(message)
        if answer.status >= 500:
            # No leader, a leader that changes, a request that took too long: another one may do.
            raise EtcdUnavailable(f"etcd at {self._endpoints[0]}: {message}")
        raise EtcdRefused(f"etcd at {self._endpoints[0]}: {message}")


class _TokenRefused(Exception):
    """The engine does not know our token any more."""


def parse_endpoints(engine: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of `etcd://host:port,host:port`; raises `ValueError` with the problem.

    IPv6 addresses stand in brackets; the port is 2379 where there is none.
    """
    scheme, separator, rest = engine.partition("://")
    if scheme != "etcd" or not separator:
        raise ValueError("expected etcd://host:port, several separated by commas")
    if "@" in rest:
        raise ValueError("do not put credentials in the URL; use the options user and password")
    return tuple(_endpoint(part.strip()) for part in rest.rstrip("/").split(","))


def _endpoint(text: str) -> Endpoint:
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        port = tail.removeprefix(":")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"{text!r}: expected [address]:port")
    else:
        host, _, port = text.partition(":")
    if not host or "/" in host:
        raise ValueError(f"{text!r}: expected host:port")
    if not port:
        return Endpoint(host)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: expected a port from 1 to 65535, got {port!r}")
    return Endpoint(host, int(port))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "replace")


def _span(prefix: str) -> dict[str, Any]:
    """All keys that begin with `prefix`: up to the prefix with its last character one higher."""
    return {"key": _encode(prefix), "range_end": _encode(prefix[:-1] + chr(ord(prefix[-1]) + 1))}


def _put(key: str, value: str, lease: int) -> dict[str, Any]:
    return {"key": _encode(key), "value": _encode(value), "lease": str(lease)}


def _compare(key: str, target: str, field: str, revision: int) -> dict[str, Any]:
    return {"key": _encode(key), "target": target, "result": "EQUAL", field: str(revision)}


def _unavailable(endpoint: Endpoint, error: Exception) -> EtcdUnavailable:
    return EtcdUnavailable(f"etcd at {endpoint} does not answer as it should: {describe(error)}")


def _snapshot(answer: Mapping[str, Any]) -> Snapshot:
    entries = tuple(
        Entry(
            key=_decode(found["key"]),
            value=_decode(found.get("value", "")),
            lease=int(found.get("lease", 0)),
            revision=int(found["mod_revision"]),
        )
        for found in answer.get("kvs", ())
    )
    return Snapshot(_revision(answer), entries)


def _lease(answer: Mapping[str, Any]) -> tuple[int, int]:
    return int(answer["ID"]), int(answer["TTL"])


def _time_to_live(answer: Mapping[str, Any]) -> int:
    return int(answer["result"].get("TTL", 0))


def _done_at(answer: Mapping[str, Any]) -> int | None:
    return _revision(answer) if answer.get("succeeded") else None


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])
