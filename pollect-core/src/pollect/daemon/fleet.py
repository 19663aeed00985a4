"""From the section `fleet` of a config to this daemon's part in the fleet."""

import hashlib
import json
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pollect import __version__
from pollect.config.config import Config
from pollect.config.fleet import FleetOptions, ShardOptions
from pollect.config.reading import read_document
from pollect.engine.plan import Plan
from pollect.errors import ConfigError
from pollect.fleet.etcd import Etcd, parse_endpoints
from pollect.fleet.fleet import LeasedFleet, StaticFleet
from pollect.fleet.ownership import ALWAYS, Epoch, Member
from pollect.model import Batch, SourceId
from pollect.support.durations import parse_duration
from pollect.support.options import ClientTls
from pollect.support.tls import build_ssl_context

if TYPE_CHECKING:
    from pollect.fleet.fleet import Fleet

log = logging.getLogger("pollect.fleet")

#: etcd keeps no lease shorter than this.
SHORTEST_TTL_SECONDS = 2.0
#: A request that hangs leaves time to ask another endpoint before the lease ends.
REQUEST_SECONDS = 2.0
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def build_fleet(options: FleetOptions, directory: Path) -> "Fleet":
    """Return this daemon's part in a fleet; nothing is connected yet.

    Raises `ConfigError` with the `key` in question.
    """
    if (options.shard is None) == (options.engine is None):
        raise ConfigError("name either a shard or an engine", key="fleet")
    if options.shard is not None:
        return _static(options.shard)
    name = options.name or socket.gethostname()
    if "/" in name:
        raise ConfigError(f"{name!r} contains a slash", key="fleet.name")
    etcd = build_etcd(options, directory)
    return LeasedFleet(
        etcd, group=options.group, name=name, ttl=_ttl(options.ttl), version=__version__
    )


def build_etcd(options: FleetOptions, directory: Path) -> Etcd:
    """Return a client of the engine; raises `ConfigError` with the `key` in question."""
    try:
        endpoints = parse_endpoints(options.engine or "")
    except ValueError as error:
        raise ConfigError(str(error), key="fleet.engine") from error
    return Etcd(
        endpoints,
        timeout=min(REQUEST_SECONDS, _ttl(options.ttl) / 2),
        tls=_tls(options.tls, directory) if options.tls is not None else None,
        user=options.user,
        password=options.password.reveal(),
    )


class FleetPart:
    """This daemon's part in a fleet, as the config says; it owns sources from `start` to `stop`.

    Raises `ConfigError` like `build_fleet`.
    """

    def __init__(self, options: FleetOptions, config: Config, plan: Plan) -> None:
        self._options = options
        self._fleet = build_fleet(options, config.directory)
        self.owned: Callable[[SourceId], Epoch | None] = self._fleet.owned
        self.since = self._fleet.since
        self.start = self._fleet.start
        self.stop = self._fleet.stop
        self.status = self._fleet.status
        self.place = self._fleet.place
        self.batch: Callable[[float], Batch] = self._fleet.batch
        self.follow(config, plan)

    def owns(self, source: SourceId) -> bool:
        """Whether this daemon may probe a source now."""
        return self.owned(source) is not None

    def stand_alone(self) -> None:
        """Own everything that no lease was asked for: for a single round of probes."""
        if self._options.engine is not None:
            log.info("a single round asks no engine: every source is probed here")
            self.owned = lambda source: ALWAYS

    def follow(self, config: Config, plan: Plan) -> None:
        """Share the sources of another config from now on; before the engine runs it."""
        if config.fleet != self._options:
            log.warning("the section fleet has changed: that takes effect at the next start")
        self._digest = digest_of(config)
        self.follow_targets(plan)

    def follow_targets(self, plan: Plan) -> None:
        """Share the sources of another plan of the same config; before the engine runs it."""
        self._fleet.follow(members_of(plan), self._digest)


def members_of(plan: Plan) -> Iterator[Member]:
    """Yield how each source of a plan takes part."""
    for executor in plan.executors:
        for source in executor.sources:
            yield Member(source.id, source.fleet, source.exclusive)


def digest_of(config: Config) -> str:
    """Return what tells whether two members run the same config.

    Made of the file before `${...}` is filled in, so without secrets, and without the section
    `fleet`, in which each member has a name of its own.
    """
    data = read_document(config.file).data
    same = {key: value for key, value in data.items() if key != "fleet"}
    text = json.dumps(same, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _static(shard: ShardOptions) -> StaticFleet:
    number = _LAST_NUMBER.search(shard.index)
    if number is None:
        problem = f"expected a number or a text that ends with one, got {shard.index!r}"
        raise ConfigError(problem, key="fleet.shard.index")
    index = int(number[1])
    if index >= shard.count:
        problem = f"expected a number from 0 to {shard.count - 1}, got {index}"
        raise ConfigError(problem, key="fleet.shard.index")
    return StaticFleet(index, shard.count)


def _ttl(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), key="fleet.ttl") from error
    if seconds < SHORTEST_TTL_SECONDS:
        problem = f"expected {SHORTEST_TTL_SECONDS:g}s or more, got {text}"
        raise ConfigError(problem, key="fleet.ttl")
    return seconds


def _tls(options: ClientTls, directory: Path) -> ssl.SSLContext:
    try:
        return build_ssl_context(**options.files(directory))
    except OSError as error:
        problem = f"cannot use {error.filename or 'its files'}: {error.strerror or error}"
        raise ConfigError(problem, key="fleet.tls") from error
