"""Fleets of real daemons on a real etcd; `make fleet` runs the whole table."""

import shutil
import time
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.fleet.fleet import running_fleet
from tests.fleet.judge import Verdict
from tests.fleet.network import may_use_namespaces
from tests.fleet.scenarios import SCENARIOS, Scenario, play, problems

#: The shortest that shows the difference between a lease that ends and a move that was planned.
TTL, TICK, TARGETS = 3.0, 1.0, 24
#: How much longer leases and ticks are at the next tries. What a busy machine needs on top of them
#: does not grow with them.
STRETCHES = (1, 3, 9)

CHOSEN = (
    "kill -9, and it comes back",
    "SIGTERM",
    "only the engine's answers dropped",
    "the same, not exclusive",
)


@pytest.mark.integration
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (make services)")
@pytest.mark.parametrize("name", CHOSEN)
def test_every_device_is_asked_by_one_daemon_at_a_time_and_none_is_forgotten(
    name, tmp_path
) -> None:
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    if scenario.namespaces and not may_use_namespaces:
        pytest.skip("needs root and ip")
    found: list[str] = []
    for stretch in STRETCHES:
        ttl, tick = stretch * TTL, stretch * TICK
        folder = tmp_path / str(stretch)
        folder.mkdir()
        verdict = disturb(folder, scenario, ttl=ttl, tick=tick)
        found = problems(scenario, verdict, ttl=ttl, tick=tick)
        # Gaps are up to the machine as well; nothing excuses two daemons at one device.
        if not found or (scenario.exclusive and verdict.doubles):
            break
    assert found == []


def disturb(folder: Path, scenario: Scenario, *, ttl: float, tick: float) -> Verdict:
    """Return what the devices of a fleet saw while this happened to it."""
    with running_fleet(
        folder,
        namespaces=scenario.namespaces,
        targets=TARGETS,
        tick=tick,
        ttl=ttl,
        nodes=scenario.nodes,
        exclusive=scenario.exclusive,
    ) as fleet:
        return play(fleet, scenario)


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
            limit_seconds=60,
        )
        now = time.monotonic()
        wait_until(lambda: fleet.askers(now).keys() == set(fleet.names), limit_seconds=60)
        asked = fleet.askers(now)
        assert fleet.verdict(start).doubles == 0
    assert {len(askers) for askers in asked.values()} == {1}
    assert len(set.union(*asked.values())) == 3, "each member has some"
    assert all(owners[name] == asked[name] for name in before[4:]), "what stayed did not move"
