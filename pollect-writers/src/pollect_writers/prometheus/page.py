"""The status page: what runs, what is down, since when and why."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from pollect.api import Outcome, SourceStatus, WriterStatus

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; font-weight: bold; font-size: 1.2rem; padding: 1rem 0 .3rem }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8886;
  vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.up::before { content: "\\2714\\a0"; color: #2a8c3c }
.down { font-weight: bold }
.down::before { content: "\\2718\\a0"; color: #d03030 }
.scroll { overflow-x: auto }
"""
_WORDS = {
    Outcome.OK: "up",
    Outcome.TROUBLED: "up, troubled",
    Outcome.NO_DATA: "up, nothing to report",
    Outcome.FAILED: "down",
    Outcome.TIMED_OUT: "down: timed out",
    Outcome.BUG: "down: programming error",
}


def status_page(
    sources: Sequence[SourceStatus], writers: Sequence[WriterStatus], *, version: str, now: float
) -> str:
    """Return the page as HTML; `now` is Unix time in seconds."""
    down = sum(1 for status in sources if status.outcome is not None and not status.up)
    summary = f"{len(sources)} sources, {down} down" if down else f"{len(sources)} sources, all up"
    if any(status.outcome is None for status in sources):
        summary += ", some not probed yet"
    # What is down comes first; that is what somebody opens the page for.
    ordered = sorted(sources, key=lambda status: status.outcome is None or status.up)
    source_rows = "".join(_source_row(status, now) for status in ordered)
    writer_rows = "".join(_writer_row(status) for status in writers)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pollect: {escape(summary)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>pollect {escape(version)}</h1></header>
<main>
<p>{escape(summary)}. Everything they report: <a href="/metrics">/metrics</a></p>
<div class="scroll"><table>
<caption>Sources</caption>
<thead><tr><th scope="col">Source</th><th scope="col">State</th><th scope="col">Since</th>
<th scope="col">Series</th><th scope="col">Last probe took</th><th scope="col">Reason</th></tr>
</thead>
<tbody>{source_rows}</tbody>
</table></div>
<div class="scroll"><table>
<caption>Writers</caption>
<thead><tr><th scope="col">Writer</th><th scope="col">State</th><th scope="col">Written</th>
<th scope="col">Waiting</th><th scope="col">Lost</th><th scope="col">Reason</th></tr>
</thead>
<tbody>{writer_rows}</tbody>
</table></div>
</main>
</body>
</html>
"""


def _source_row(status: SourceStatus, now: float) -> str:
    if status.outcome is None:
        state = "<td>not probed yet</td>"
    else:
        state = f'<td class="{"up" if status.up else "down"}">{_WORDS[status.outcome]}</td>'
    took = "" if status.duration_seconds is None else f"{status.duration_seconds * 1000:.1f} ms"
    return (
        f'<tr><th scope="row">{escape(str(status.source))}</th>{state}'
        f"<td>{_since(status.since, now)}</td>"
        f'<td class="number">{status.series}</td><td class="number">{took}</td>'
        f"<td>{escape(status.reason or '; '.join(status.troubles))}</td></tr>\n"
    )


def _writer_row(status: WriterStatus) -> str:
    state = "up" if status.up else "down"
    return (
        f'<tr><th scope="row">{escape(status.writer)}</th><td class="{state}">{state}</td>'
        f'<td class="number">{status.written_samples}</td>'
        f'<td class="number">{status.buffered_samples}</td>'
        f'<td class="number">{status.lost_samples}</td><td>{escape(status.reason)}</td></tr>\n'
    )


def _since(time: float | None, now: float) -> str:
    if time is None:
        return ""
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
    return f'<time datetime="{moment}" title="{moment}">{_span(max(0.0, now - time))}</time>'


def _span(seconds: float) -> str:
    """Return how long something has lasted, in the two largest units."""
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{number} {unit}" for number, unit in units if number]
    return " ".join(shown[:2]) or "0 s"
