"""What both pages have in common: head, header, and how a state looks."""

from pollect.api import DaemonStatus, Status, format_moment, format_span
from pollect_writers.page.assets import CSS, JS, versioned
from pollect_writers.page.text import ago, breakable, counted, escaped

#: A sign beside each colour, for those who do not tell them apart.
SIGNS = {"up": "✔", "troubled": "▲", "down": "✖", "new": "…", "elsewhere": "⇄"}
#: What a state is called, where its own word is not enough.
WORDS = {"new": "not probed yet"}
#: Colour of the icon in the tab.
_ICON_COLOURS = {
    "up": "22994d",
    "troubled": "d98a00",
    "down": "d63a3a",
    "new": "808894",
    "elsewhere": "808894",
}
#: Lines of a reason that the header shows; the rest is in the log.
_ERROR_LINES = 5


def page(title: str, state: str, header: str, main: str, *, now: float) -> str:
    """Return a whole page; `state` colours its icon."""
    return f"""<!DOCTYPE html>
<html lang="en" data-now="{now:.1f}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<link rel="icon" href="{icon(state)}">
<link rel="stylesheet" href="{versioned(CSS)}">
<script type="module" src="{versioned(JS)}"></script>
<noscript><meta http-equiv="refresh" content="15"></noscript>
</head>
<body>
<a class="skip" href="#main">Skip to the sources</a>
{header}
<div id="stale" class="banner bad" role="alert" hidden></div>
<main id="main">{main}</main>
</body>
</html>
"""


def icon(state: str) -> str:
    """Return the icon of the tab as a data URL."""
    colour = _ICON_COLOURS[state]
    return (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
        f"%3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
    )


def pill(state: str, text: str = "") -> str:
    """Return a state as a coloured word."""
    return f'<span class="pill {state}"><span aria-hidden="true">{SIGNS[state]}</span> ' + (
        f"{escaped(text or WORDS.get(state, state))}</span>"
    )


def worst_state(status: Status) -> str:
    counts = status.counts
    if counts.down or writers_down(status):
        return "down"
    return "troubled" if counts.troubled else "up" if counts.up or not counts.new else "new"


def writers_down(status: Status) -> int:
    return sum(writer.state == "down" for writer in status.writers)


def summary_text(status: Status) -> str:
    """Return in a few words how everything fares, the worst first; the title of the page."""
    counts = status.counts
    parts = [
        f"{number} {state}"
        for state, number in (("down", counts.down), ("troubled", counts.troubled))
        if number
    ]
    if broken := writers_down(status):
        parts.append(f"{counted(broken, 'writer')} down")
    here = len(status.sources) - counts.elsewhere
    if not parts and (here or not counts.elsewhere):
        sources = counted(here, "source")
        parts = [f"{sources}, all up"] if not counts.new else [sources]
    if counts.new:
        parts.append(f"{counts.new} not probed yet")
    if counts.elsewhere:
        parts.append(f"{counts.elsewhere} elsewhere")
    return ", ".join(parts)


def header(daemon: DaemonStatus, middle: str, *, back: bool = False) -> str:
    """Return the header; `middle` is what stands between the host and the facts of the daemon."""
    link = '<a class="back" href="./">← all sources</a>' if back else ""
    return f"""<header class="top">
<div class="host">{link}<h1>{breakable(daemon.host)}</h1>
<p class="brand">pollect {escaped(daemon.version)}</p></div>
{middle}
<dl class="facts">
<div><dt>Running for</dt><dd><time data-since="{daemon.started:.1f}">\
{format_span(daemon.now - daemon.started)}</time></dd></div>
<div><dt>Config</dt><dd class="path">{breakable(daemon.config)}</dd></div>
<div><dt>Last read</dt><dd>{ago(daemon.last_reload.time, daemon.now)}</dd></div>
<div><dt>Updated</dt><dd id="updated" role="status" aria-live="off" \
title="{escaped(format_moment(daemon.now))}">{ago(daemon.now, daemon.now)}</dd></div>
</dl>
</header>
{reload_banner(daemon)}"""


def reload_banner(daemon: DaemonStatus) -> str:
    """Return why the config in the file is not the one that runs; empty if it is."""
    if daemon.last_reload.successful:
        return ""
    lines = daemon.last_reload.error.splitlines()
    shown = "\n".join(lines[:_ERROR_LINES])
    if len(lines) > _ERROR_LINES:
        shown += f"\nand {len(lines) - _ERROR_LINES} more; `pollect check` lists them all"
    return (
        '<div class="banner warn" role="alert"><strong>The changed config was not taken up; '
        f"the old one goes on.</strong><pre>{escaped(shown)}</pre></div>"
    )
