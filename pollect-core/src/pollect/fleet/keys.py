"""What a fleet keeps in its engine, below `/pollect/<group>/`.

`members/<name>` and `shards/<number>` are bound to the lease of the member that wrote them, so
they end with it. A member that hands a shard over writes into its key when it stopped, bound to no
lease: whoever claims the shard goes on from there. `generation` stays: an engine that lost its
data gets another one, and `settling` with it, which ends when every lease from before would have
ended.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pollect.fleet.etcd import Entry, Snapshot
from pollect.fleet.shards import SHARDS


class Profile(NamedTuple):
    """What a member tells the others about itself."""

    #: Digest of its config.
    digest: str
    #: Of pollect.
    version: str
    #: Shared sources in its config.
    sources: int

    def encode(self) -> str:
        return json.dumps(self._asdict(), sort_keys=True)


def decode_profile(text: str) -> Mapping[str, object]:
    """Return what a member says of itself; empty if it is not readable."""
    try:
        profile = json.loads(text)
    except ValueError:
        return {}
    return profile if isinstance(profile, dict) else {}


def prefix_of(group: str) -> str:
    """Return what all keys of a fleet begin with."""
    return f"/pollect/{group}/"


def generation_key(prefix: str) -> str:
    """Return the key that says when the engine's data began."""
    return f"{prefix}generation"


def settling_key(prefix: str) -> str:
    """Return the key that keeps members from claiming what others may still probe."""
    return f"{prefix}settling"


def member_key(prefix: str, name: str) -> str:
    """Return the key of a member."""
    return f"{prefix}members/{name}"


def shard_key(prefix: str, shard: int) -> str:
    """Return the key of a shard that has an owner."""
    return f"{prefix}shards/{shard:03d}"


def settling_in(prefix: str, snapshot: Snapshot) -> bool:
    """Return whether no shard may be claimed yet."""
    return any(entry.key == settling_key(prefix) for entry in snapshot.entries)


def members_in(prefix: str, snapshot: Snapshot) -> dict[str, Entry]:
    """Return the members by name."""
    return dict(_below(f"{prefix}members/", snapshot))


def shards_in(prefix: str, snapshot: Snapshot) -> dict[int, Entry]:
    """Return the shards that have an owner, by number; the value of each is the owner's name."""
    return {shard: entry for shard, entry in _shards(prefix, snapshot) if entry.lease}


def released_in(prefix: str, snapshot: Snapshot) -> dict[int, Entry]:
    """Return the shards that a member handed over and no other has claimed yet, by number."""
    return {shard: entry for shard, entry in _shards(prefix, snapshot) if not entry.lease}


def encode_stop(at: float) -> str:
    """Return the value of a shard whose owner stopped at a Unix time."""
    return repr(at)


def decode_stop(text: str) -> float | None:
    """Return the Unix time at which the last owner stopped, None if it is not readable."""
    try:
        at = float(text)
    except ValueError:
        return None
    return at if math.isfinite(at) else None


def _shards(prefix: str, snapshot: Snapshot) -> Iterator[tuple[int, Entry]]:
    for name, entry in _below(f"{prefix}shards/", snapshot):
        if name.isdecimal() and int(name) < SHARDS:
            yield int(name), entry


def _below(prefix: str, snapshot: Snapshot) -> Iterator[tuple[str, Entry]]:
    for entry in snapshot.entries:
        if entry.key.startswith(prefix):
            yield entry.key.removeprefix(prefix), entry
