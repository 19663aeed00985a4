"""The part of this daemon in its fleet, whichever way the fleet decides who owns what."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from pollect.fleet.etcd import Etcd
from pollect.fleet.keys import Profile
from pollect.fleet.member import FleetMember as LeaseHolder
from pollect.fleet.ownership import Epoch, LeasedOwnership, Member, Shards, StaticOwnership
from pollect.fleet.shards import SHARDS
from pollect.model import Batch, Kind, Metric, SourceId
from pollect.status import FleetMember, FleetStatus

SOURCE = SourceId("pollect", "fleet")

MEMBERS = Metric("members", help="Members of the fleet, as this one sees it.")
OWNED_SOURCES = Metric("owned_sources", help="Shared sources that this daemon owns.")
SHARED_SOURCES = Metric(
    "shared_sources", help="Sources of the config of which one member probes each."
)
LEASE_REMAINING = Metric(
    "lease_remaining_seconds",
    help="Seconds for which ownership is proven without another answer of the engine.",
    unit="seconds",
)
HANDOVERS = Metric(
    "handovers_total",
    help="Shards that came to this daemon or left it, by reason.",
    kind=Kind.COUNTER,
    labels=("reason",),
)
FENCED = Metric(
    "fenced_total",
    help="Times this daemon stopped probing exclusive sources as its lease was not renewed.",
    kind=Kind.COUNTER,
)
CONFIG_DIFFERS = Metric(
    "differing_configs", help="Members whose config differs from this daemon's."
)
METRICS = (
    MEMBERS,
    OWNED_SOURCES,
    SHARED_SOURCES,
    LEASE_REMAINING,
    HANDOVERS,
    FENCED,
    CONFIG_DIFFERS,
)


class Fleet(Protocol):
    """What the daemon needs of a fleet. `owned` may be called from any thread at any time."""

    def owned(self, source: SourceId) -> Epoch | None:
        """Return the epoch in which this daemon may probe a source now, None if it may not."""

    def since(self, source: SourceId) -> float | None:
        """Return the Unix time at which the owner before stopped, None if it did not say so."""

    def follow(self, members: Iterable[Member], digest: str) -> None:
        """Take the sources of a config, before the engine does."""

    def start(self, changed: Callable[[bool], None]) -> None:
        """Take part; `changed` is called after the ownership of sources changed.

        With True when no other daemon probed what came.
        """

    def stop(self) -> None:
        """Own nothing any more and leave; takes two seconds at most."""

    def batch(self, time: float) -> Batch:
        """Return the metrics of the fleet as this daemon sees it."""

    def status(self) -> FleetStatus:
        """Return the fleet as this daemon sees it."""

    def place(self, source: SourceId) -> tuple[int, str] | None:
        """Return shard and owner of a source, None for one that every member probes.

        The owner is empty while there is none.
        """


class StaticFleet:
    """A shard that never moves."""

    def __init__(self, index: int, count: int) -> None:
        self._ownership = StaticOwnership(index, count)
        self.owned = self._ownership.owned
        self.since = self._ownership.since

    def follow(self, members: Iterable[Member], digest: str) -> None:
        self._ownership.shards.follow(members)

    def start(self, changed: Callable[[bool], None]) -> None:
        """Nothing ever changes."""

    def stop(self) -> None:
        """Nothing to leave."""

    def batch(self, time: float) -> Batch:
        samples = (
            MEMBERS.sample(self._ownership.shards.count),
            OWNED_SOURCES.sample(self._ownership.owned_sources),
            SHARED_SOURCES.sample(self._ownership.shards.sources),
        )
        return Batch(SOURCE, samples, time)

    def status(self) -> FleetStatus:
        ownership = self._ownership
        sources = ownership.shards.counts()
        return FleetStatus(
            mode="shard",
            name=_shard_name(ownership.index),
            members=[
                FleetMember(
                    name=_shard_name(index),
                    shards=1,
                    sources=sources.get(index, 0),
                    same_config=True,
                )
                for index in range(ownership.shards.count)
            ],
            shards=[ownership.index],
            shared_sources=ownership.shards.sources,
            owned_sources=ownership.owned_sources,
        )

    def place(self, source: SourceId) -> tuple[int, str] | None:
        place = self._ownership.shards.place(source)
        return None if place is None else (place[0], _shard_name(place[0]))


class LeasedFleet:
    """Shards that move between members, by leases in etcd."""

    def __init__(
        self,
        etcd: Etcd,
        *,
        group: str,
        name: str,
        ttl: float,
        version: str,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._etcd = etcd
        self._group = group
        self._name = name
        self._ttl = ttl
        self._version = version
        self._now = now or _boot_time
        self._shards = Shards(SHARDS)
        self._ownership = LeasedOwnership(self._shards, now=self._now)
        self._profile = Profile("", version, 0)
        self._member: LeaseHolder | None = None
        self.owned = self._ownership.owned
        self.since = self._ownership.since

    def follow(self, members: Iterable[Member], digest: str) -> None:
        self._shards.follow(members)
        self._profile = Profile(digest, self._version, self._shards.sources)
        if self._member is not None:
            self._member.update_profile(self._profile)

    def start(self, changed: Callable[[bool], None]) -> None:
        self._member = LeaseHolder(
            self._etcd,
            group=self._group,
            name=self._name,
            ttl=self._ttl,
            profile=self._profile,
            ownership=self._ownership,
            now=self._now,
            changed=changed,
        )
        self._member.start()

    def stop(self) -> None:
        if self._member is not None:
            self._member.stop()

    def batch(self, time: float) -> Batch:
        ownership, member = self._ownership, self._member
        samples = [
            OWNED_SOURCES.sample(ownership.owned_sources),
            SHARED_SOURCES.sample(self._shards.sources),
            LEASE_REMAINING.sample(ownership.remaining_seconds),
            FENCED.sample(ownership.fenced_total),
        ]
        if member is not None:
            samples.append(MEMBERS.sample(len(member.members)))
            samples.append(CONFIG_DIFFERS.sample(len(member.differing)))
            samples += [HANDOVERS.sample(n, reason) for reason, n in member.handovers.items()]
        return Batch(SOURCE, samples, time)

    def status(self) -> FleetStatus:
        ownership, member = self._ownership, self._member
        owners = self._owners()
        held, sources = Counter(owners.values()), self._shards.counts()
        load = Counter[str]()
        for shard, number in sources.items():
            load[owners.get(shard, "")] += number
        profiles = member.members if member is not None else {}
        differing = member.differing if member is not None else frozenset()
        return FleetStatus(
            mode="lease",
            name=self._name,
            group=self._group,
            engine_up=member is not None and member.engine_up,
            lease_remaining_seconds=round(ownership.remaining_seconds, 1),
            members=[
                FleetMember(
                    name=name,
                    version=str(profiles[name].get("version", "")),
                    shards=held[name],
                    sources=load[name],
                    same_config=name not in differing,
                )
                for name in sorted(profiles)
            ],
            shards=sorted(ownership.claims),
            shared_sources=self._shards.sources,
            owned_sources=ownership.owned_sources,
            sources_without_owner=load[""],
        )

    def place(self, source: SourceId) -> tuple[int, str] | None:
        place = self._shards.place(source)
        return None if place is None else (place[0], self._owners().get(place[0], ""))

    def _owners(self) -> Mapping[int, str]:
        """Return the owner of each shard; of this daemon's what it knows better than the engine."""
        known = self._member.owners if self._member is not None else {}
        others = {shard: name for shard, name in known.items() if name != self._name}
        return others | dict.fromkeys(self._ownership.claims, self._name)


def _shard_name(index: int) -> str:
    return f"shard {index}"


def _boot_time() -> float:
    """Seconds of a clock that cannot be set and that goes on while the machine is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
