"""Curves and strips as SVG, without a single inline style: the page's policy allows none."""

import math
from collections.abc import Iterable, Sequence

from pollect.api import Curve, Scale, Strip, format_clock
from pollect_writers.page.text import escaped

#: Inside of a curve, before it is stretched to its place.
WIDTH, HEIGHT = 1000, 100
#: Pixels of a plot, and where its area begins and ends.
PLOT_HEIGHT, PLOT_TOP, PLOT_BOTTOM = 200, 18, 176
#: Lines across a plot, about.
TICKS = 4
#: Seconds between two marks on the time axis, the smallest that gives few enough.
_TIME_STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
_MOST_TIME_MARKS = 6
#: A gap of so many usual distances is shown as a gap.
_GAP = 3.5


def sparkline(curve: Curve | None, label: str) -> str:
    """Return a small curve without axes."""
    path = area = ""
    if curve is not None:
        known = [value for value in curve.values if value is not None]
        if known:
            low, high = min(known), max(known)
            if low == high:
                # A flat line in the middle rather than at the bottom.
                low, high = low - 1, high + 1
            pad = (high - low) * 0.08
            start = curve.times[0]
            path, area = curve_paths(curve, start, curve.times[-1], low - pad, high + pad)
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escaped(label)}"><path class="area" d="{area}"/>'
        f'<path class="line" d="{path}"/></svg>'
    )


def strip(found: Strip, label: str) -> str:
    """Return good and bad times as a bar; neighbours of one state are one piece."""
    pieces = []
    start = 0
    cells = [*found.cells, None]
    for number in range(1, len(cells)):
        if cells[number] != cells[start]:
            pieces.append(
                f'<rect class="{cells[start]}" x="{start}" width="{number - start}" height="1"/>'
            )
            start = number
    return (
        f'<svg class="strip" viewBox="0 0 {len(found.cells)} 1" preserveAspectRatio="none" '
        f'role="img" aria-label="{escaped(label)}">{"".join(pieces)}</svg>'
    )


def describe_strip(found: Strip) -> str:
    """Return in words what a strip shows, for those who cannot see it."""
    counts = {state: found.cells.count(state) for state in ("down", "troubled", "up")}
    known = sum(counts.values())
    if not known:
        return "nothing known yet"
    unit = "minutes" if found.cell_seconds == 60 else "probes"
    bad = [f"{state} in {number}" for state, number in counts.items() if number and state != "up"]
    return f"last {known} {unit}: {' and '.join(bad) if bad else 'all up'}"


def curve_paths(curve: Curve, start: float, end: float, low: float, high: float) -> tuple[str, str]:
    """Return the path of a curve, and that of the area below it."""
    span, height = max(end - start, 1e-9), max(high - low, 1e-300)
    lines: list[str] = []
    areas: list[str] = []
    for piece in _pieces(curve):
        points = [
            f"{WIDTH * (time - start) / span:.0f} {HEIGHT * (high - value) / height:.1f}"
            for time, value in piece
        ]
        if len(points) == 1:
            points.append(points[0].replace(" ", ".5 ", 1))
        lines.append("M" + "L".join(points))
        first, last = points[0].partition(" ")[0], points[-1].partition(" ")[0]
        areas.append(f"M{first} {HEIGHT}L{'L'.join(points)}L{last} {HEIGHT}Z")
    return "".join(lines), "".join(areas)


def plot(curves: Sequence[Curve], scale: Scale, label: str) -> str:
    """Return a plot with axes of up to eight series; the script adds what follows the pointer."""
    times = [time for curve in curves for time in curve.times]
    known = [value for curve in curves for value in curve.values if value is not None]
    if not known:
        return '<p class="quiet">no values yet</p>'
    start, end = min(times), max(times)
    ticks = nice_ticks(min(known), max(known), scale.divisor)
    low, high = min(ticks[0], min(known)), max(ticks[-1], max(known))
    area = PLOT_BOTTOM - PLOT_TOP
    lines = []
    for tick in ticks:
        y = PLOT_TOP + area * (high - tick) / ((high - low) or 1)
        lines.append(
            f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="2" y="{y - 4:.1f}">{escaped(scale.tick(tick))}</text>'
        )
    for time in time_marks(start, end):
        x = 100 * (time - start) / ((end - start) or 1)
        anchor = "start" if x < 6 else "end" if x > 94 else "middle"
        lines.append(
            f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="{PLOT_BOTTOM}" '
            f'y2="{PLOT_BOTTOM + 4}"/>'
            f'<text class="time" x="{x:.2f}%" y="{PLOT_HEIGHT - 6}" text-anchor="{anchor}">'
            f"{format_clock(time, end - start)}</text>"
        )
    paths = []
    for number, curve in enumerate(curves):
        path, filled = curve_paths(curve, start, end, low, high)
        if len(curves) == 1:
            paths.append(f'<path class="area" d="{filled}"/>')
        paths.append(f'<path class="line s{number}" d="{path}"/>')
    return (
        f'<svg class="axes" width="100%" height="{PLOT_HEIGHT}" role="img" '
        f'aria-label="{escaped(label)}">{"".join(lines)}'
        f'<svg x="0" y="{PLOT_TOP}" width="100%" height="{area}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{"".join(paths)}</svg></svg>'
    )


def nice_ticks(low: float, high: float, divisor: float = 1.0) -> list[float]:
    """Return round values that cover `low` to `high`, after division by `divisor`.

    >>> nice_ticks(0.3, 9.2)
    [0.0, 5.0, 10.0]
    """
    low, high = low / divisor, high / divisor
    if low == high:
        low, high = (low - 1, high + 1) if low else (0.0, 1.0)
    if 0 < low < 0.4 * high:
        low = 0.0  # a curve that begins near zero is seen best from zero
    rough = (high - low) / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step * divisor for number in range(first, last + 1)]


def time_marks(start: float, end: float) -> list[float]:
    """Return the round times between two."""
    span = end - start
    step = next((s for s in _TIME_STEPS if span / s <= _MOST_TIME_MARKS), _TIME_STEPS[-1])
    first = math.ceil(start / step)
    marks = [number * float(step) for number in range(first, math.floor(end / step) + 1)]
    return marks or [start]


def _pieces(curve: Curve) -> Iterable[list[tuple[float, float]]]:
    """Yield the parts of a curve between its gaps."""
    steps = sorted(
        later - earlier for earlier, later in zip(curve.times, curve.times[1:], strict=False)
    )
    usual = steps[len(steps) // 2] if steps else 0.0
    piece: list[tuple[float, float]] = []
    for time, value in zip(curve.times, curve.values, strict=True):
        if value is None or (piece and time - piece[-1][0] > _GAP * usual):
            if piece:
                yield piece
            piece = []
        if value is not None:
            piece.append((time, value))
    if piece:
        yield piece
