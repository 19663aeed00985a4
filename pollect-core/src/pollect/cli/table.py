"""Aligned tables for people."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

from pollect.text import visible_text

GAP = "  "
#: Below this many columns the last one is not worth wrapping.
NARROWEST = 24


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "", width: int = 0
) -> str:
    """Return rows under a header, columns two spaces apart.

    The column with the title `right` is aligned to the right. The last column is wrapped to keep
    the table within `width`, and what is long in the others is cut; 0 wraps and cuts nothing.
    """
    lines = [list(header), *([_on_one_line(cell) for cell in row] for row in rows)]
    if width:
        lines = [[*(_cut(cell, width // 2) for cell in line[:-1]), line[-1]] for line in lines]
    widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
    indent = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    room = width - indent
    formatted = []
    for line in lines:
        cells = [
            _aligned(cell, size, right=title == right)
            for title, cell, size in zip(header, line, widths, strict=True)
        ]
        text = GAP.join(cells).rstrip()
        if columns_of(text) > width and room >= NARROWEST:
            first, *others = textwrap.wrap(line[-1], room, break_on_hyphens=False)
            text = "\n".join(
                [GAP.join([*cells[:-1], first]), *(" " * indent + other for other in others)]
            )
        formatted.append(text)
    return "\n".join(formatted)


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_letter(letter) for letter in text)


def _columns_of_letter(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0  # it stands on, or works upon, another one
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _on_one_line(cell: str) -> str:
    return visible_text(cell).replace("\n", "\\n").replace("\t", "\\t")


def _aligned(cell: str, size: int, *, right: bool) -> str:
    blank = " " * (size - columns_of(cell))
    return blank + cell if right else cell + blank


def _cut(cell: str, size: int) -> str:
    if len(cell) <= size and columns_of(cell) <= size:
        return cell
    # One letter at a time, as a device may send a megabyte of them.
    columns, room = 0, 0
    for end, letter in enumerate(cell):
        columns += _columns_of_letter(letter)
        if columns > size:
            return f"{cell[:room]}…"
        if columns < size:
            room = end + 1
    return cell


def terminal_width() -> int:
    """Return how wide a table may be: that of the terminal, 0 for anything in files and pipes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
