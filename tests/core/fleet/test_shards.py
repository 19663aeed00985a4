"""Which member is to own which shard: everybody agrees, and loads differ by one at most."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pollect.fleet.shards import SHARDS, assign, shard_of
from pollect.model import SourceId

NAMES = st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=12)


@given(NAMES)
def test_every_shard_has_one_owner_and_loads_differ_by_one_at_most(members: set[str]) -> None:
    owners = assign(members)
    assert set(owners) == set(range(SHARDS))
    loads = Counter(owners.values())
    assert set(loads) == members
    assert max(loads.values()) - min(loads.values()) <= 1


@given(NAMES)
def test_members_agree_in_whatever_order_they_know_each_other(members: set[str]) -> None:
    assert assign(sorted(members)) == assign(sorted(members, reverse=True))


@given(NAMES, st.text(min_size=1, max_size=12))
def test_a_member_that_joins_gets_its_share_and_most_shards_stay(
    members: set[str], new: str
) -> None:
    before, after = assign(members), assign(members | {new})
    moved = sum(before[shard] != after[shard] for shard in before)
    if new in members:
        assert moved == 0
    else:
        assert moved <= SHARDS * 3 / (len(members) + 1) + len(members)


def test_without_members_nothing_is_owned() -> None:
    assert assign(()) == {}


def test_the_shard_of_a_source_is_the_same_on_every_machine_and_version() -> None:
    # A change here would move every source of every fleet at an upgrade.
    assert shard_of(SourceId("home", "Http", "router")) == 187
    assert shard_of(SourceId("home", "Http", "router"), 3) == shard_of(
        SourceId("home", "Http", "router"), 3
    )


def test_ten_thousand_sources_spread_evenly_over_three_members() -> None:
    owners = assign({"a", "b", "c"})
    loads = Counter(owners[shard_of(SourceId("c", "Http", f"t{n}"))] for n in range(10_000))
    assert max(loads.values()) < 3_800
    assert min(loads.values()) > 2_900
