"""Shards: the parts of a config that move between the daemons of a fleet as a whole.

A source always belongs to the same shard, whatever else the config holds, so a config that differs
on one member moves nothing but the sources that differ.
"""

import hashlib
from collections.abc import Collection

from pollect.model import SourceId

#: Shards of a fleet that leases in etcd hold together.
SHARDS = 256


def shard_of(source: SourceId, count: int = SHARDS) -> int:
    """Return the shard of a source, from 0 to `count` - 1; the same on every machine."""
    return _number(str(source)) % count


def assign(members: Collection[str], count: int = SHARDS) -> dict[int, str]:
    """Return which member is to own each shard; every member comes to the same answer.

    Rendezvous hashing with bounded loads: a shard goes to the member that ranks highest for it and
    still has room. The loads of two members differ by one at most. Empty without members.
    """
    if not members:
        return {}
    least, with_one_more = divmod(count, len(members))
    load = dict.fromkeys(sorted(members), 0)
    owners = {}
    for shard in range(count):
        for member in _ranking(shard, load):
            if load[member] < least:
                break
            if load[member] == least and with_one_more:
                with_one_more -= 1
                break
        load[member] += 1
        owners[shard] = member
    return owners


def _ranking(shard: int, members: Collection[str]) -> list[str]:
    return sorted(members, key=lambda member: _number(f"{member}\0{shard}"), reverse=True)


def _number(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest)
