"""What a person sees of a fleet at one of its daemons: members, owners, configs that differ."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from pollect.testing.waiting import wait_until
from tests.core.fleet.etcd_server import EtcdServer, needs_etcd
from tests.e2e.command import Daemon, call, scrape, start
from tests.e2e.status_json import check_everything
from tests.simulators.daemons import free_port

CONFIG = """\
tickTime: 1
stateDir: state
fleet: {fleet}
writer: {{type: Prometheus, port: {port}, bind: 127.0.0.1}}
executors:
  - collection: home
    sources:
{sources}
      - {{type: Dummy, name: everywhere, fleet: false}}
"""
SHARED = 8
SHARDS = 256
LIMIT_SECONDS = 60.0


def write_config(folder: Path, fleet: str, *, more: str = "") -> int:
    port = free_port()
    folder.mkdir()
    names = "\n".join(f"      - {{type: Dummy, name: n{number}}}" for number in range(SHARED))
    text = CONFIG.format(fleet=fleet, port=port, sources=names + more)
    (folder / "config.yml").write_text(text)
    return port


def look(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=30) as answer:
        return json.load(answer)


def owners(status: Any) -> dict[str, str]:
    return {source["id"]: source["owner"] for source in status["sources"]}


def running(folder: Path) -> Any:
    return start("run", "-c", "config.yml", folder=folder)


def settled(daemon: Daemon, port: int, members: int) -> Any:
    """Wait until so many members are there and every shared source is probed by one."""
    daemon.wait_for("listening on")

    def found() -> Any:
        status = look(port)
        fleet, counts = status["fleet"], status["counts"]
        everyone = len(fleet["members"]) == members and not fleet["sourcesWithoutOwner"]
        return status if everyone and not counts["new"] else None

    return wait_until(found, f"a fleet of {members}", limit_seconds=LIMIT_SECONDS)


def test_a_static_shard_knows_its_own_sources_and_who_has_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    port = write_config(folder, "{shard: {index: 1, count: 2}}")
    with running(folder) as daemon:
        status = settled(daemon, port, 2)
        check_everything(port)
        metrics = scrape(port).splitlines()
        shown = call("status", "-c", "config.yml", folder=folder).stdout
        elsewhere = next(name for name, owner in owners(status).items() if owner == "shard 0")
        refused = call("probe", "--now", elsewhere, "-c", "config.yml", folder=folder)

    assert refused.returncode == 1
    assert f"{elsewhere}: not probed by this member of the fleet: it is probed by shard 0" in (
        refused.stderr
    )
    fleet, owner_of = status["fleet"], owners(status)
    assert (fleet["mode"], fleet["name"], fleet["shards"]) == ("shard", "shard 1", [1])
    assert fleet["sharedSources"] == SHARED
    own = [name for name, owner in owner_of.items() if owner == "shard 1"]
    assert len(own) == fleet["ownedSources"]
    assert "pollect_fleet_members 2.0" in metrics
    assert f"pollect_fleet_owned_sources {len(own)}.0" in metrics
    assert owner_of["home/Dummy/everywhere"] == ""
    states = {source["id"]: source["state"] for source in status["sources"]}
    assert {states[name] for name in own} <= {"up"}
    others = {states[name] for name, owner in owner_of.items() if owner == "shard 0"}
    assert others == {"elsewhere"}
    assert status["counts"]["elsewhere"] == SHARED - len(own)
    assert "fleet: shard 1 probes" in shown
    assert "probed by shard 0" in shown


@needs_etcd
def test_members_see_each_other_their_sources_and_that_a_config_differs(tmp_path: Path) -> None:
    etcd = EtcdServer(tmp_path / "etcd")
    etcd.start()
    try:
        engine = f'engine: "etcd://127.0.0.1:{etcd.port}", ttl: 3s, group: attic'
        first = write_config(tmp_path / "a", f"{{{engine}, name: a}}")
        second = write_config(
            tmp_path / "b", f"{{{engine}, name: b}}", more="\n      - {type: Uptime}"
        )
        with running(tmp_path / "a") as a, running(tmp_path / "b") as b:
            settled(a, first, 2), settled(b, second, 2)

            def at_rest() -> Any:
                """Both, once they agree: shards may still be on their way."""
                status, other = look(first), look(second)
                known = owners(other)
                agreed = all(known[name] == owner for name, owner in owners(status).items())
                taken = sum(one["shards"] for one in status["fleet"]["members"])
                return (status, other) if agreed and taken == SHARDS else None

            status, other = wait_until(at_rest, "shards at rest", limit_seconds=LIMIT_SECONDS)
            check_everything(first)
            shown = call("status", "-c", "config.yml", folder=tmp_path / "a").stdout
    finally:
        etcd.kill()

    fleet = status["fleet"]
    assert (fleet["group"], fleet["name"], fleet["engineUp"]) == ("attic", "a", True)
    assert [(one["name"], one["sameConfig"]) for one in fleet["members"]] == [
        ("a", True),
        ("b", False),
    ]
    assert sum(one["sources"] for one in fleet["members"]) == SHARED
    assert fleet["leaseRemainingSeconds"] > 0
    mine, theirs = owners(status), owners(other)
    assert {name: theirs[name] for name in mine} == mine
    assert set(mine.values()) == {"", "a", "b"}
    assert "another config runs on b" in shown
