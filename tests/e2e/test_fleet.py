"""Fleets of real daemons on a real etcd; `make fleet` runs the whole table."""

import shutil

import pytest

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
@pytest.mark.timeout(300)
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
