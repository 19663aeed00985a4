"""When something was well and when not, as a row of cells: what a page shows as a strip."""

from collections.abc import Iterable

#: Cells of a strip, and the seconds that each covers at least.
CELLS = 60
CELL_SECONDS = 60.0

#: What a cell holds: the worst of what happened in its time.
NOTHING, UP, TROUBLED, DOWN = range(4)


class Strip:
    """The worst state of each minute, or of each interval if that is longer, of the last 60."""

    __slots__ = ("_cells", "_last", "seconds")

    def __init__(self, seconds: float) -> None:
        #: Seconds that one cell covers.
        self.seconds = max(CELL_SECONDS, seconds)
        self._cells = bytearray(CELLS)
        self._last: int | None = None

    def note(self, time: float, state: int) -> None:
        number = self._advance(time)
        if state > self._cells[number]:
            self._cells[number] = state

    def cells(self, time: float, good: Iterable[float] = ()) -> bytes:
        """Return the states of the cells up to `time`, the oldest first.

        `good`: moments, in Unix time, at which it was well as far as nothing worse was noted.
        """
        now = int(time // self.seconds)
        cells = bytearray(CELLS)
        if self._last is not None:
            # A clock that was set back goes on in the latest cell.
            now = max(now, self._last)
            split, gone = self._last % CELLS + 1, min(now - self._last, CELLS)
            cells = (self._cells[split:] + self._cells[:split])[gone:] + bytes(gone)
        oldest = now - CELLS + 1
        for moment in good:
            number = int(moment // self.seconds) - oldest
            if 0 <= number < CELLS and cells[number] == NOTHING:
                cells[number] = UP
        return bytes(cells)

    def _advance(self, time: float) -> int:
        number = int(time // self.seconds)
        if self._last is None or abs(number - self._last) >= CELLS:
            self._cells = bytearray(CELLS)
            self._last = number
        while self._last < number:
            self._last += 1
            self._cells[self._last % CELLS] = NOTHING
        # A clock that was set back goes on in the latest cell.
        return self._last % CELLS
