"""`pollect fleet`: who is in a fleet, and who owns what."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pollect.cli.session import Session, config_file, log_options
from pollect.cli.table import format_table, terminal_width
from pollect.errors import ConfigError

if TYPE_CHECKING:
    from pollect.config.fleet import FleetOptions
    from pollect.daemon.loading import Loaded


@click.command()
@config_file
@click.option("--sources", "with_sources", is_flag=True, help="List every shared source, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@log_options
@click.pass_obj
def fleet(session: Session, config_name: str, with_sources: bool, as_json: bool) -> int:
    """Show the members of a fleet and who owns what.

    Asks the engine that the config names; with static shards everything is in the config. Changes
    nothing and needs no running daemon. The exit code is 1 if a shard has no owner or the configs
    of members differ.
    """
    session.start_command_log()
    from pollect.daemon.loading import load

    loaded = load(config_name)
    options = loaded.config.fleet
    if options is None:
        raise ConfigError("has no section 'fleet'", file=loaded.config.file)
    view = _static(loaded, options) if options.shard else _leased(loaded, options)
    if as_json:
        print(json.dumps(view, indent=2))
    else:
        _print_tables(view, with_sources=with_sources)
    return 1 if view["unowned"] or view["configsDiffer"] else 0


def _static(loaded: "Loaded", options: "FleetOptions") -> Mapping[str, Any]:
    from pollect.daemon.fleet import build_fleet

    part = build_fleet(options, loaded.config.directory).status()
    (own,), count = part.shards, len(part.members)
    sources = _sources(loaded, count)
    load = Counter(shard for shard, _ in sources.values())
    return {
        "mode": "shard",
        "members": [
            {
                "name": f"shard {index}" + (" (this one)" if index == own else ""),
                "shards": 1,
                "sources": load[index],
            }
            for index in range(count)
        ],
        "sources": [
            {"source": name, "shard": shard, "owner": f"shard {shard}", "exclusive": exclusive}
            for name, (shard, exclusive) in sources.items()
        ],
        "unowned": 0,
        "configsDiffer": False,
    }


def _leased(loaded: "Loaded", options: "FleetOptions") -> Mapping[str, Any]:
    from pollect.daemon.fleet import build_etcd
    from pollect.fleet.keys import decode_profile, members_in, prefix_of, shards_in
    from pollect.fleet.shards import SHARDS, assign

    etcd = build_etcd(options, loaded.config.directory)
    try:
        prefix = prefix_of(options.group)
        snapshot = etcd.range(prefix)
        members = members_in(prefix, snapshot)
        remaining = {name: etcd.remaining(entry.lease) for name, entry in members.items()}
    finally:
        etcd.close()
    owners = {shard: entry.value for shard, entry in shards_in(prefix, snapshot).items()}
    wanted = assign(members)
    sources = _sources(loaded, SHARDS)
    shards, load = Counter(owners.values()), Counter(owners.get(s) for s, _ in sources.values())
    profiles = {name: decode_profile(entry.value) for name, entry in members.items()}
    return {
        "mode": "lease",
        "group": options.group,
        "members": [
            {
                "name": name,
                "shards": shards[name],
                "sources": load[name],
                "leaseSeconds": remaining[name],
                "version": profiles[name].get("version", ""),
                "config": profiles[name].get("digest", ""),
            }
            for name in sorted(members)
        ],
        "sources": [
            {"source": name, "shard": shard, "owner": owners.get(shard), "exclusive": exclusive}
            for name, (shard, exclusive) in sources.items()
        ],
        "moving": sum(owners[shard] != wanted.get(shard) for shard in owners),
        "unowned": SHARDS - len(owners),
        "configsDiffer": len({profile.get("digest") for profile in profiles.values()}) > 1,
    }


def _sources(loaded: "Loaded", count: int) -> dict[str, tuple[int, bool]]:
    """Return shard and exclusiveness of every shared source of a config, by its id."""
    from pollect.daemon.build import assemble
    from pollect.daemon.fleet import members_of
    from pollect.engine.clock import SystemClock
    from pollect.fleet.shards import shard_of

    plan = assemble(loaded.config, loaded.registry, clock=SystemClock(), stopping=threading.Event())
    return {
        str(member.source): (shard_of(member.source, count), member.exclusive)
        for member in members_of(plan)
        if member.shared
    }


def _print_tables(view: Mapping[str, Any], *, with_sources: bool) -> None:
    if view["members"]:
        row = _leased_row if view["mode"] == "lease" else _static_row
        header = ("MEMBER", "SHARDS", "SOURCES", "LEASE", "VERSION", "CONFIG")
        rows = [row(member) for member in view["members"]]
        print(format_table(header[: len(rows[0])], rows))
    else:
        print("no members: no daemon of this fleet runs")
    if with_sources:
        sources = [
            (
                part["source"],
                str(part["shard"]),
                part["owner"] or "-",
                "yes" if part["exclusive"] else "",
            )
            for part in view["sources"]
        ]
        titles = ("SOURCE", "SHARD", "OWNER", "EXCLUSIVE")
        print(f"\n{format_table(titles, sources, width=terminal_width())}")
    if view.get("moving"):
        print(f"{view['moving']} shards are moving to another member", file=sys.stderr)
    if view["unowned"] and view["members"]:
        print(f"{view['unowned']} shards have no owner", file=sys.stderr)
    if view["configsDiffer"]:
        print("members run different configs: see the column CONFIG", file=sys.stderr)


def _static_row(member: Mapping[str, Any]) -> tuple[str, ...]:
    return member["name"], str(member["shards"]), str(member["sources"])


def _leased_row(member: Mapping[str, Any]) -> tuple[str, ...]:
    lease = f"{member['leaseSeconds']} s"
    return *_static_row(member), lease, member["version"], member["config"]
