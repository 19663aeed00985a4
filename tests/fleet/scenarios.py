"""What happens to a fleet, and what it promises then.

Each scenario disturbs a quiet fleet of three members and yields the verdict of the devices over
that time; the longest gap it allows stands beside it.
"""

import random
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.fleet.fleet import Fleet
from tests.fleet.judge import Verdict


class Scenario(NamedTuple):
    name: str
    run: Callable[[Fleet], None]
    #: The longest gap promised, from ttl and tick in seconds; None where only doubles count.
    longest_gap: Callable[[float, float], float] | None
    namespaces: bool = False
    nodes: int = 1
    exclusive: bool = True


def steady(fleet: Fleet) -> None:
    time.sleep(10 * fleet.tick)


def killed(fleet: Fleet) -> None:
    fleet.members[0].kill()
    time.sleep(fleet.ttl + 4)


def returns(fleet: Fleet) -> None:
    fleet.members[0].start()
    time.sleep(fleet.ttl + 4)


def killed_and_returns(fleet: Fleet) -> None:
    killed(fleet)
    returns(fleet)


def asleep(fleet: Fleet) -> None:
    """A member sleeps for 2.5 leases; awake again it must not go on as if nothing had happened."""
    fleet.members[0].signal(signal.SIGSTOP)
    time.sleep(2.5 * fleet.ttl)
    fleet.members[0].signal(signal.SIGCONT)
    time.sleep(fleet.ttl + 4)


def terminated(fleet: Fleet) -> None:
    code = fleet.members[0].terminate()
    assert code == 0, f"exit code {code}"
    time.sleep(4 * fleet.tick)


def terminated_and_returns(fleet: Fleet) -> None:
    """Both are planned moves; each begins somewhere else in the tick."""
    terminated(fleet)
    time.sleep(0.4 * fleet.tick)
    returns(fleet)


def partitioned(fleet: Fleet) -> None:
    """All packets between a member and the engine are dropped; it still reaches the devices."""
    assert fleet.net is not None
    fleet.net.cut(0)
    time.sleep(4 * fleet.ttl)
    fleet.net.heal(0)
    time.sleep(fleet.ttl + 4)


def answers_dropped(fleet: Fleet) -> None:
    assert fleet.net is not None
    fleet.net.cut_answers(0)
    time.sleep(4 * fleet.ttl)
    fleet.net.heal_answers(0)
    time.sleep(fleet.ttl + 4)


def engine_away_briefly(fleet: Fleet) -> None:
    fleet.engine.kill()
    time.sleep(3)
    fleet.engine.start()
    time.sleep(fleet.ttl + 4)


def engine_away_long(fleet: Fleet) -> None:
    fleet.engine.kill()
    time.sleep(4 * fleet.ttl)
    fleet.engine.start()
    time.sleep(fleet.ttl + 4)


def engine_emptied(fleet: Fleet) -> None:
    fleet.engine.kill()
    fleet.engine.erase()
    fleet.engine.start()
    time.sleep(fleet.ttl + 6)


def leader_killed(fleet: Fleet) -> None:
    node = fleet.engine.nodes[fleet.engine.leader()]
    node.kill()
    time.sleep(fleet.ttl + 4)
    node.start()
    time.sleep(4)


def random_faults(seed: int) -> Callable[[Fleet], None]:
    """Return half a minute of faults that the seed decides; the fleet is whole at the end."""

    def run(fleet: Fleet) -> None:
        chance = random.Random(seed)
        sleeping: set[int] = set()
        dead: set[int] = set()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            index = chance.randrange(len(fleet.members))
            member = fleet.members[index]
            match chance.choice(("kill", "sleep", "terminate", "engine", "whole")):
                case "kill" if index not in dead | sleeping:
                    member.kill()
                    dead.add(index)
                case "sleep" if index not in dead | sleeping:
                    member.signal(signal.SIGSTOP)
                    sleeping.add(index)
                case "terminate" if index not in dead | sleeping:
                    member.terminate()
                    dead.add(index)
                case "engine":
                    fleet.engine.kill()
                    time.sleep(chance.uniform(0, fleet.ttl))
                    fleet.engine.start()
                case _:
                    _make_whole(fleet, dead, sleeping)
            time.sleep(chance.uniform(0.2, fleet.ttl))
        _make_whole(fleet, dead, sleeping)
        fleet.wait_covered()
        time.sleep(3 * fleet.tick)

    return run


def _make_whole(fleet: Fleet, dead: set[int], sleeping: set[int]) -> None:
    for index in dead:
        fleet.members[index].start()
    for index in sleeping:
        fleet.members[index].signal(signal.SIGCONT)
    dead.clear()
    sleeping.clear()


#: Taking over takes the rest of the lease, up to a second of etcd's own, and up to a tick.
_TAKEOVER: Callable[[float, float], float] = lambda ttl, tick: ttl + 1 + 2 * tick  # noqa: E731

#: What is due while shards change hands is made up for.
_NO_TICK_LOST: Callable[[float, float], float] = lambda ttl, tick: 1.8 * tick  # noqa: E731

SCENARIOS = (
    Scenario("steady", steady, lambda ttl, tick: 1.2 * tick),
    Scenario("kill -9 of one", killed, _TAKEOVER),
    Scenario("kill -9, and it comes back", killed_and_returns, _TAKEOVER),
    Scenario("SIGSTOP for 2.5 leases, SIGCONT", asleep, _TAKEOVER),
    Scenario("SIGTERM", terminated, lambda ttl, tick: 2 * tick + 1),
    Scenario("SIGTERM, and it comes back", terminated_and_returns, _NO_TICK_LOST),
    Scenario("all packets to the engine dropped", partitioned, _TAKEOVER, namespaces=True),
    Scenario("only the engine's answers dropped", answers_dropped, _TAKEOVER, namespaces=True),
    Scenario("engine away for 3 s", engine_away_briefly, lambda ttl, tick: ttl + 2 * tick),
    Scenario("engine away for 4 leases", engine_away_long, lambda ttl, tick: 4 * ttl + 6),
    Scenario(
        "the same, not exclusive", engine_away_long, lambda ttl, tick: 2 * tick, exclusive=False
    ),
    Scenario("engine emptied", engine_emptied, lambda ttl, tick: ttl + 6),
    Scenario("leader of three killed", leader_killed, lambda ttl, tick: ttl + 2 * tick, nodes=3),
)


def play(fleet: Fleet, scenario: Scenario) -> Verdict:
    """Disturb a quiet fleet and return what the devices saw from then on."""
    fleet.settle()
    # What a device saw last before the disturbance is where its gap starts.
    start = time.monotonic() - 2 * fleet.tick
    scenario.run(fleet)
    return fleet.verdict(start)


def problems(scenario: Scenario, verdict: Verdict, *, ttl: float, tick: float) -> list[str]:
    """Return what does not hold."""
    found = []
    if verdict.doubles and scenario.exclusive:
        found.append(f"{verdict.doubles} double probes")
    if verdict.silent:
        found.append(f"{verdict.silent} devices silent at the end")
    if scenario.longest_gap is not None and verdict.gap_max > scenario.longest_gap(ttl, tick):
        found.append(f"a gap of {verdict.gap_max:.1f} s, promised "
                     f"{scenario.longest_gap(ttl, tick):.1f} s")  # fmt: skip
    return found
