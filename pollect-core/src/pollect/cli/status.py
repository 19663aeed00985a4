"""`pollect status`: how a running daemon fares, as its page shows it."""

import json
import sys
import time
from collections.abc import Iterator

import click
import msgspec

from pollect.cli.running import daemon_file, folder_of
from pollect.cli.session import Session, log_options
from pollect.cli.table import format_table, terminal_width
from pollect.daemon.control import ask
from pollect.human import format_number, format_span
from pollect.status import FleetStatus, SourceSummary, Status
from pollect.text import REPLACEMENT, visible_text

#: Back to the top left, and clear what is below.
_HOME = "\x1b[H\x1b[J"


@click.command()
@daemon_file
@click.option(
    "-w",
    "--watch",
    type=click.FloatRange(min=0.2),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Refresh it every 2 seconds, or as often as given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what /status.json of the page says.")
@log_options
@click.pass_obj
def status(session: Session, config_name: str | None, watch: float | None, as_json: bool) -> int:
    """Show the state of a running pollect: its sources, the worst first, and its writers.

    The exit code is 1 if a source or a writer is down, or if no pollect runs.
    """
    session.start_command_log()
    folder = folder_of(config_name)
    while True:
        answer = ask(folder, "status")
        found = msgspec.convert(answer, Status)
        if as_json:
            print(json.dumps(answer, indent=None if watch else 2, ensure_ascii=False))
        else:
            home = _HOME if watch and sys.stdout.isatty() else ""
            print(f"{home}{visible_text(format_status(found))}")
        if watch is None:
            return 1 if is_down(found) else 0
        sys.stdout.flush()
        time.sleep(watch)


def is_down(status: Status) -> bool:
    """Whether a source or a writer is down."""
    return status.counts.down > 0 or any(writer.state == "down" for writer in status.writers)


def format_status(status: Status) -> str:
    """Return everything as text, for a terminal."""
    daemon, counts = status.daemon, status.counts
    numbers = {
        "down": counts.down,
        "troubled": counts.troubled,
        "not probed yet": counts.new,
        "up": counts.up,
        "elsewhere": counts.elsewhere,
    }
    summary = ", ".join(f"{n} {word}" for word, n in numbers.items() if n or word == "up")
    lines = [
        f"pollect {daemon.version} on {daemon.host}, process {daemon.pid}, running for "
        f"{format_span(daemon.now - daemon.started)}: {summary}",
        f"config {daemon.config}, read {format_span(daemon.now - daemon.last_reload.time)} ago",
    ]
    if not daemon.last_reload.successful:
        lines += ["the changed config was not taken up; the old one goes on:"]
        lines += [f"  {line}" for line in daemon.last_reload.error.splitlines()]
    if status.fleet is not None:
        lines += format_fleet(status.fleet)
    rows = [_row(source, daemon.now) for source in status.sources]
    width = terminal_width()
    header = ("STATE", "SOURCE", "PROBED", "NEXT", "VALUES AND REASONS")
    if rows:
        lines += ["", format_table(header, rows, width=width)]
    writers = [
        (
            writer.state,
            writer.name,
            format_number(writer.written),
            format_number(writer.waiting),
            format_number(writer.lost),
            _printable(writer.reason),
        )
        for writer in status.writers
    ]
    if writers:
        titles = ("STATE", "WRITER", "WRITTEN", "WAITING", "LOST", "REASON")
        lines += ["", format_table(titles, writers, width=width)]
    return "\n".join(lines)


def format_fleet(fleet: FleetStatus) -> Iterator[str]:
    """Yield what a daemon sees of its fleet, in lines."""
    group = f" {fleet.group}" if fleet.group else ""
    yield (
        f"fleet{group}: {_printable(fleet.name)} probes {fleet.owned_sources} of "
        f"{fleet.shared_sources} shared sources, members: "
        f"{', '.join(_printable(member.name) for member in fleet.members) or 'none'}"
    )
    if not fleet.engine_up:
        yield "  the engine does not answer: nothing moves"
    if fleet.sources_without_owner:
        yield f"  {fleet.sources_without_owner} sources have no owner"
    differing = [_printable(one.name) for one in fleet.members if not one.same_config]
    if differing:
        yield f"  another config runs on {', '.join(differing)}"


def _row(source: SourceSummary, now: float) -> tuple[str, ...]:
    probed = "never" if source.last_probe is None else f"{format_span(now - source.last_probe)} ago"
    wait = -1.0 if source.next_probe is None else source.next_probe - now
    due = "–" if source.next_probe is None else f"in {format_span(wait)}" if wait >= 1 else "now"
    return source.state, _printable(source.id), probed, due, "; ".join(_texts(source))


def _texts(source: SourceSummary) -> Iterator[str]:
    if source.state == "elsewhere":
        yield f"probed by {_printable(source.owner)}" if source.owner else "has no owner"
    if source.reason:
        yield _printable(source.reason)
    yield from map(_printable, source.troubles)
    for glance in source.glance:
        yield _printable(f"{glance.title} {glance.text}".strip())


def _printable(text: str) -> str:
    """Return text without what a terminal would obey."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in text)
