"""The page of one source: every value with its plot, options, and how its probes went."""

import json
from collections.abc import Sequence
from itertools import groupby

from pollect.api import (
    SourceDetail,
    Value,
    format_moment,
    format_number,
    format_quantity,
    format_span,
    scale_of,
)
from pollect_writers.page.drawing import describe_strip, plot, strip
from pollect_writers.page.frame import WORDS, header, page, pill
from pollect_writers.page.overview import reason
from pollect_writers.page.text import ago, breakable, counted, escaped, until
from pollect_writers.page.urls import probe_url

#: Series that one plot shows, as many as there are colours.
MOST_CURVES = 8
#: Rows of a table that are shown at once.
MOST_ROWS = 12
#: Plots that are drawn; of a source with more values the tables follow.
MOST_PLOTS = 24
#: Letters of a unit that is long: packets/s.
_LONG_UNIT = 6
#: Of a cell that a narrow screen has no room for.
_LEAST = ' class="least"'


def detail_page(detail: SourceDetail, *, read_only: bool) -> str:
    """Return the page as HTML."""
    source = detail.summary
    word = WORDS.get(source.state, source.state)
    middle = (
        f'<div class="source"><h2>{breakable(source.id)}</h2> '
        f"{pill(source.state)}"
        f'<p class="reason">{reason(source)}</p></div>'
    )
    metrics = [
        (name, list(values)) for name, values in groupby(_sorted(detail.values), lambda v: v.name)
    ]
    sections = "".join(
        _metric(values, draw=number < MOST_PLOTS) for number, (_, values) in enumerate(metrics)
    )
    if not sections and source.series and not detail.values_left_out:
        kept = "is" if source.series == 1 else "are"
        sections = (
            f'<p class="quiet">{counted(source.series, "value")} {kept} not kept here: '
            "<code>history</code> of the config is 0</p>"
        )
    elif not sections:
        sections = '<p class="quiet">no values</p>'
    if detail.values_left_out:
        sections += (
            f'<p class="quiet">{counted(detail.values_left_out, "series")} beyond the option '
            "<code>history</code> of the config are not shown</p>"
        )
    main = f"""
<article data-source="{escaped(source.id)}" data-probed="{source.last_probe or 0:.1f}">
<div class="sides">
<section class="card"><h2>Probes</h2>{_probes(detail, read_only)}</section>
<section class="card"><h2>Options</h2>{_options(detail)}</section>
</div>
<div class="metrics">{sections}</div>
</article>
"""
    title = f"{source.id}: {word} · {detail.daemon.host} · pollect"
    top = header(detail.daemon, middle, back=True)
    return page(title, source.state, top, main, now=detail.daemon.now)


def _sorted(values: Sequence[Value]) -> list[Value]:
    """Return values by metric, in the order in which the source reported them first."""
    order = {name: number for number, name in enumerate(dict.fromkeys(v.name for v in values))}
    return sorted(values, key=lambda value: order[value.name])


def _probes(detail: SourceDetail, read_only: bool) -> str:
    source, now = detail.summary, detail.daemon.now
    took = source.duration_seconds
    outcomes = ", ".join(
        f"{number:,} {outcome.replace('_', ' ')}"
        for outcome, number in detail.probes.items()
        if number
    )
    facts = [
        ("Every", format_span(source.interval) if source.interval >= 1 else f"{source.interval} s"),
        ("Last", ago(source.last_probe, now)),
        ("Next", until(source.next_probe, now)),
        ("Took", "–" if took is None else escaped(format_quantity(took, "seconds"))),
        ("Ended", escaped(outcomes) or "–"),
        ("Skipped", f"{detail.skipped:,}"),
        ("Since", "–" if source.since is None else escaped(format_moment(source.since))),
    ]
    if detail.last_failure is not None:
        moment = escaped(format_moment(detail.last_failure))
        facts.append(("Last error", f"{breakable(detail.last_error)} <small>{moment}</small>"))
    if detail.dropped:
        facts.append(("Left out", f"{counted(detail.dropped, 'value')} beyond maxSeries"))
    if source.shard is not None:
        shard = f"shard {source.shard}"
        small = "" if source.owner == shard else f" <small>{shard}</small>"
        facts.append(("Owner", f"{breakable(source.owner) or 'none'}{small}"))
    if detail.plugin:
        facts.append(("From", escaped(detail.plugin)))
    rows = "".join(f"<div><dt>{word}</dt><dd>{text}</dd></div>" for word, text in facts)
    button = "" if read_only or source.state == "elsewhere" else (
        f'<form id="probe" method="post" action="{escaped(probe_url(source.id))}">'
        '<button type="submit">Probe now</button> <span role="status"></span></form>'
    )  # fmt: skip
    return (
        f'<dl class="table">{rows}</dl>{strip(source.strip, describe_strip(source.strip))}{button}'
    )


def _options(detail: SourceDetail) -> str:
    chosen = [option for option in detail.options if not option.default]
    others = [option for option in detail.options if option.default]
    rows = "".join(_option(option.name, option.value) for option in chosen)
    text = (
        f'<dl class="table">{rows}</dl>' if rows else '<p class="quiet">all at their defaults</p>'
    )
    if others:
        rest = "".join(_option(option.name, option.value) for option in others)
        text += (
            f"<details><summary>{counted(len(others), 'default')}</summary>"
            f'<dl class="table">{rest}</dl></details>'
        )
    return text


def _option(name: str, value: str) -> str:
    return f"<div><dt>{breakable(name)}</dt><dd><code>{breakable(value) or '–'}</code></dd></div>"


def _metric(values: Sequence[Value], *, draw: bool) -> str:
    first = values[0]
    drawn = [value for value in values if value.curve.times][:MOST_CURVES]
    largest = max(
        (abs(end) for v in drawn for end in (v.minimum, v.maximum) if end is not None), default=0.0
    )
    scale = scale_of(first.curve_unit, largest)
    picture = ""
    if draw and drawn:
        data = {
            "times": drawn[0].curve.times,
            "divisor": scale.divisor,
            "symbol": scale.symbol,
            "series": [{"name": _labels(v) or v.name, "values": v.curve.values} for v in drawn],
        }
        label = f"{first.metric}, {'; '.join(f'{_labels(v)} {v.text}'.strip() for v in drawn)}"
        picture = (
            f'<div class="plot" tabindex="0" data-plot="{escaped(json.dumps(data))}">'
            f"{plot([value.curve for value in drawn], scale, label)}</div>"
        )
    rows = [
        _value_row(value, number if len(values) > 1 and number < len(drawn) else None)
        for number, value in enumerate(values)
    ]
    columns = [("Now", ""), *((name, kind) for name, _, kind in _ends(first))]
    if first.kind == "counter":
        columns.insert(0, ("Total", ""))
    cells = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in columns)
    head = f'<thead><tr><th scope="col">Series</th>{cells}</tr></thead>'
    table = f"<table>{head}<tbody>{''.join(rows[:MOST_ROWS])}</tbody></table>"
    if len(rows) > MOST_ROWS:
        table += (
            f"<details><summary>{len(rows) - MOST_ROWS} more series</summary>"
            f"<table>{head}<tbody>{''.join(rows[MOST_ROWS:])}</tbody></table></details>"
        )
    rate = " <small>change per second</small>" if first.kind == "counter" else ""
    return (
        f'<section class="card metric"><h3>{breakable(first.metric)}{rate}</h3>'
        f'<p class="quiet">{escaped(first.help)}</p>{picture}<div class="scroll">{table}</div>'
        "</section>"
    )


def _value_row(value: Value, colour: int | None) -> str:
    key = "" if colour is None else f'<span class="key s{colour}" aria-hidden="true"></span>'
    cells = "".join(
        f"<td{kind}>{'–' if end is None else escaped(_short(end, value.curve_unit))}</td>"
        for _, end, kind in _ends(value)
    )
    total = f"<td>{escaped(value.total) or '–'}</td>" if value.kind == "counter" else ""
    name = breakable(_labels(value)) or (breakable(value.name) if value.name else "value")
    gone = "" if value.value is not None else ' class="gone"'
    exact = "" if value.value is None else f' title="{value.value:g} {escaped(value.unit)}"'
    return (
        f'<tr{gone}><th scope="row">{key}{name}</th>'
        f"{total}<td{exact}><strong>{escaped(value.text) or 'gone'}</strong></td>{cells}</tr>"
    )


def _ends(value: Value) -> Sequence[tuple[str, float | None, str]]:
    """Return what the hour was like: heading, value and the class of the cell."""
    return (
        ("Min", value.minimum, _LEAST if value.kind == "counter" else ""),
        ("Mean", value.mean, _LEAST),
        ("Max", value.maximum, _LEAST if value.kind == "counter" else ""),
    )


def _short(number: float, unit: str) -> str:
    """Return a quantity without a long unit, which the value of now has beside it."""
    scale = scale_of(unit, number)
    is_long = scale.divisor == 1 and len(scale.symbol) > _LONG_UNIT
    return format_number(number) if is_long else format_quantity(number, unit)


def _labels(value: Value) -> str:
    return ", ".join(f"{name}={text}" for name, text in value.labels.items())
