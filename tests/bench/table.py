"""Rows of figures, and how they print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS = "pollect"
OLD = "1.x"


@dataclass(frozen=True)
class Row:
    """One thing measured: a figure for each program, smaller is better."""

    what: str
    unit: str
    figures: Mapping[str, float | None]
    #: The figure to reach, None where there is none.
    goal: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """1.x's figure over ours: how many times better we are."""
        ours, old = self.figures.get(OURS), self.figures.get(OLD)
        return old / ours if ours and old else None


def format_table(title: str, rows: Sequence[Row]) -> str:
    """Return the rows as an aligned table."""
    programs = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [["what", *programs, "1.x/ours", "goal", ""]]
    for row in rows:
        ours = row.figures.get(OURS)
        verdict = ""
        if row.goal is not None and ours is not None:
            verdict = "reached" if ours <= row.goal else "missed"
        cells = [_figure(row.figures.get(name)) + row.notes.get(name, "") for name in programs]
        ratio = f"{row.ratio:.1f}x" if row.ratio else ""
        goal = "" if row.goal is None else f"<= {_figure(row.goal)}"
        lines.append([f"{row.what} [{row.unit}]", *cells, ratio, goal, verdict])
    return align(title, lines)


def align(title: str, lines: Sequence[Sequence[str]]) -> str:
    """Return a table of cells below a title, the first line being the heads of the columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [title, "=" * len(title)]
    for line in lines:
        first, *rest = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        text.append("  ".join([first, *rest]).rstrip())
    return "\n".join(text)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
