"""Fleets of real daemons on a real etcd; `make fleet` runs the whole table."""

import shutil
import time

import pytest

from pollect.testing.waiting import wait_until
from tests.fleet.fleet import running_fleet
from tests.fleet.network import may_use_namespaces
from tests.fleet.scenarios import SCENARIOS, play, problems

#: The shortest that shows the difference between a lease that ends and a move that was planned.
TTL, TICK, TARGETS = 3.0, 1.0, 24

CHOSEN = (
    "kill -9, and it comes back",
    "SIGTERM",
    "only the engine's answers dropped",
    "the same, not exclusive",
)


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (make services)")
@pytest.mark.parametrize("name", CHOSEN)
def test_every_device_is_asked_by_one_daemon_at_a_time_and_none_is_forgotten(
    name, tmp_path
) -> None:
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    if scenario.namespaces and not may_use_namespaces:
        pytest.skip("needs root and ip")
    with running_fleet(
        tmp_path,
        namespaces=scenario.namespaces,
        targets=TARGETS,
        tick=TICK,
        ttl=TTL,
        nodes=scenario.nodes,
        exclusive=scenario.exclusive,
    ) as fleet:
        verdict = play(fleet, scenario)
    assert problems(scenario, verdict, ttl=TTL, tick=TICK) == []


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (make services)")
def test_targets_of_an_inventory_are_shared_one_by_one_also_when_it_changes(tmp_path) -> None:
    with running_fleet(tmp_path, targets=TARGETS, tick=TICK, ttl=TTL, inventory=True) as fleet:
        fleet.settle()
        start, before = time.monotonic(), fleet.names
        wait_until(lambda: fleet.askers(start).keys() == set(before), limit_seconds=60)
        owners = fleet.askers(start)
        fleet.list_targets([*before[4:], *(f"new{number}" for number in range(8))])
        fleet.wait_covered()
        gone = set(before[:4])
        wait_until(
            lambda: not gone & fleet.askers(time.monotonic() - 3 * TICK).keys(),
            limit_seconds=30,
        )
        now = time.monotonic()
        wait_until(lambda: fleet.askers(now).keys() == set(fleet.names), limit_seconds=60)
        asked = fleet.askers(now)
        assert fleet.verdict(start).doubles == 0
    assert {len(askers) for askers in asked.values()} == {1}
    assert len(set.union(*asked.values())) == 3, "each member has some"
    assert all(owners[name] == asked[name] for name in before[4:]), "what stayed did not move"
