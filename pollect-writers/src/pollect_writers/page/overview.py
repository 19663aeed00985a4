"""The page of all sources, worst first, and the writers."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from pollect.api import (
    FleetMember,
    FleetStatus,
    SourceSummary,
    Status,
    WriterSummary,
    format_number,
    format_quantity,
    format_span,
)
from pollect_writers.page.drawing import describe_strip, sparkline, strip
from pollect_writers.page.frame import (
    WORDS,
    header,
    page,
    pill,
    summary_text,
    worst_state,
    writers_down,
)
from pollect_writers.page.text import ago, breakable, counted, escaped, until
from pollect_writers.page.urls import source_url

#: With more sources, groups without a problem are folded.
MOST_UNFOLDED = 60


def overview_page(status: Status) -> str:
    """Return the page as HTML."""
    summary = summary_text(status)
    groups = [
        (collection, list(sources))
        for collection, sources in groupby(status.sources, lambda source: source.collection)
    ]
    fold = len(status.sources) > MOST_UNFOLDED
    sections = "".join(_group(name, sources, status, fold) for name, sources in groups)
    main = f"""
<div class="tools" role="search">
<label class="search"><span class="hidden">Search sources</span>\
<input id="search" type="search" placeholder="Search sources" autocomplete="off" \
spellcheck="false"></label>
<label class="switch"><input id="problems" type="checkbox"> only problems</label>
<nav><a href="metrics">All values as text</a> <a href="status.json">JSON</a></nav>
<p class="keys" aria-hidden="true"><kbd>/</kbd> search <kbd>p</kbd> problems \
<kbd>j</kbd><kbd>k</kbd> move <kbd>↵</kbd> open</p>
</div>
<div id="sources">{sections or '<p class="quiet">no sources</p>'}</div>
<p id="nothing" class="quiet" role="status" hidden>No source fits.</p>
{_fleet(status.fleet) if status.fleet else ""}
<section class="group writers" aria-labelledby="writers-title">
<h2 id="writers-title">Writers</h2>
<ul class="rows">{"".join(_writer(writer) for writer in status.writers)}</ul>
</section>
"""
    middle = f'<p class="counts" role="status">{counts(status)}</p>'
    title = f"{summary} · {status.daemon.host} · pollect"
    top = header(status.daemon, middle)
    return page(title, worst_state(status), top, main, now=status.daemon.now)


def counts(status: Status) -> str:
    """Return how many sources are in which state, and how many writers are down."""
    found = status.counts
    numbers = {
        "down": found.down,
        "troubled": found.troubled,
        "new": found.new,
        "up": found.up,
        "elsewhere": found.elsewhere,
    }
    pills = [
        pill(state, f"{number} {WORDS.get(state, state)}")
        for state, number in numbers.items()
        if number or state == "up"
    ]
    if broken := writers_down(status):
        pills.append(pill("down", f"{counted(broken, 'writer')} down"))
    return "".join(pills)


def _group(name: str, sources: Sequence[SourceSummary], status: Status, fold: bool) -> str:
    bad = [source for source in sources if source.state in ("down", "troubled")]
    unfolded = "" if fold and not bad else " open"
    summary = f"{counted(len(bad), 'problem')}, " if bad else ""
    rows = "".join(_row(source, status.daemon.now) for source in sources)
    return (
        f'<details class="group" data-group="{escaped(name)}"{unfolded}>'
        f'<summary><h2>{breakable(name)}</h2> <span class="quiet">'
        f"{summary}{counted(len(sources), 'source')}</span></summary>"
        f'<ul class="rows">{rows}</ul></details>'
    )


def _row(source: SourceSummary, now: float) -> str:
    title = source.type if source.name is None else f"{source.type} · {source.name}"
    first = source.glance[0] if source.glance else None
    label = f"{first.title or source.type}: {first.text}, last hour" if first else "no values"
    return (
        f'<li class="row {source.state}" data-id="{escaped(source.id)}" '
        f'data-state="{source.state}">'
        f'<div class="what"><a class="name" href="{escaped(source_url(source.id))}">'
        f"{breakable(title)}</a> {pill(source.state)}"
        f'<p class="reason">{reason(source)}</p></div>'
        f'<dl class="values">{values(source)}</dl>'
        f'<div class="draw">{sparkline(source.curve, label)}'
        f"{strip(source.strip, describe_strip(source.strip))}</div>"
        f'<p class="when"><span>probed {ago(source.last_probe, now)}</span> '
        f"<span>next {until(source.next_probe, now)}</span></p></li>"
    )


def reason(source: SourceSummary) -> str:
    """Return what is wrong with a source, in lines."""
    texts = [source.reason] if source.reason else list(source.troubles)
    if source.state == "elsewhere":
        texts = [f"probed by {source.owner}" if source.owner else "has no owner"]
    elif source.outcome == "no_data":
        texts = ["nothing to report"]
    return "<br>".join(breakable(text) for text in texts)


def values(source: SourceSummary) -> str:
    """Return the values at a glance."""
    return "".join(
        f"<div><dt>{breakable(glance.title)}</dt><dd>{escaped(glance.text)}</dd></div>"
        for glance in source.glance
    )


def _fleet(fleet: FleetStatus) -> str:
    rows = "".join(_member(member, fleet) for member in fleet.members)
    notes = []
    if not fleet.engine_up:
        notes.append("the engine does not answer: nothing moves")
    if fleet.sources_without_owner:
        notes.append(f"{counted(fleet.sources_without_owner, 'source')} without an owner")
    if fleet.lease_remaining_seconds is not None:
        notes.append(f"lease proven for {format_span(fleet.lease_remaining_seconds)}")
    return (
        f'<section class="group fleet" aria-labelledby="fleet-title"><h2 id="fleet-title">Fleet '
        f'{breakable(fleet.group)}</h2><p class="quiet">{fleet.owned_sources} of '
        f"{counted(fleet.shared_sources, 'shared source')} probed here"
        f"{''.join(f', {note}' for note in notes)}</p>"
        '<div class="scroll card"><table><thead><tr><th scope="col">Member</th>'
        '<th scope="col">Shards</th><th scope="col">Sources</th><th scope="col">Version</th>'
        f'<th scope="col">Config</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _member(member: FleetMember, fleet: FleetStatus) -> str:
    here = ' <span class="quiet">(this one)</span>' if member.name == fleet.name else ""
    config = "the same" if member.same_config else pill("troubled", "differs")
    return (
        f'<tr><th scope="row">{breakable(member.name)}{here}</th><td>{member.shards}</td>'
        f"<td>{member.sources}</td><td>{escaped(member.version) or '–'}</td><td>{config}</td></tr>"
    )


def _writer(writer: WriterSummary) -> str:
    facts: Iterable[tuple[str, int]] = (
        ("written", writer.written),
        ("waiting", writer.waiting),
        ("lost", writer.lost),
    )
    numbers = "".join(
        f"<div><dt>{word}</dt><dd>{_short(number)}</dd></div>" for word, number in facts
    )
    return (
        f'<li class="row {writer.state}" data-writer="{escaped(writer.name)}" '
        f'data-state="{writer.state}"><div class="what"><span class="name">'
        f"{breakable(writer.name)}</span> {pill(writer.state)}"
        f'<p class="reason">{breakable(writer.reason)}</p></div>'
        f'<dl class="values">{numbers}</dl>'
        f'<div class="draw">{strip(writer.strip, describe_strip(writer.strip))}</div></li>'
    )


def _short(number: int) -> str:
    return format_number(number) if number < 100_000 else format_quantity(number)
