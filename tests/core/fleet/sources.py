"""Sources by shard, for tests that ask who may probe what."""

from pollect.fleet.ownership import Member, Shards
from pollect.fleet.shards import SHARDS, shard_of
from pollect.model import SourceId


def _one_in_each_shard(type_name: str) -> dict[int, SourceId]:
    found: dict[int, SourceId] = {}
    number = 0
    while len(found) < SHARDS:
        source = SourceId("home", type_name, f"t{number}")
        found.setdefault(shard_of(source), source)
        number += 1
    return found


#: A source in each shard that is exclusive, and one that is not.
EXCLUSIVE = _one_in_each_shard("EspHome")
RELAXED = _one_in_each_shard("Http")


def all_shards() -> Shards:
    """Return the shards of a config with all these sources."""
    shards = Shards(SHARDS)
    exclusive = [Member(source, exclusive=True) for source in EXCLUSIVE.values()]
    shards.follow([*exclusive, *map(Member, RELAXED.values())])
    return shards
