"""Aligned tables for people."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

GAP = "  "
#: Below this many columns the last one is not worth wrapping.
NARROWEST = 24


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "", width: int = 0
) -> str:
    """Return rows under a header, columns two spaces apart.

    The column with the title `right` is aligned to the right. The last column is wrapped to keep
    the table within `width`; 0 wraps nothing.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    indent = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    room = width - indent
    formatted = []
    for line in lines:
        cells = [
            cell.rjust(size) if title == right else cell.ljust(size)
            for title, cell, size in zip(header, line, widths, strict=True)
        ]
        text = GAP.join(cells).rstrip()
        if len(text) > width and room >= NARROWEST:
            first, *others = textwrap.wrap(line[-1], room, break_on_hyphens=False)
            text = "\n".join(
                [GAP.join([*cells[:-1], first]), *(" " * indent + other for other in others)]
            )
        formatted.append(text)
    return "\n".join(formatted)


def terminal_width() -> int:
    """Return how wide a table may be: that of the terminal, 0 for anything in files and pipes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
