"""The last report on disk, and of which day the newest news are."""

import json
from collections.abc import Collection
from datetime import date
from pathlib import Path

import msgspec

from pollect.api import ProbeError
from pollect_sources_cloud.app_store_connect.reports import MAX_REPORT_BYTES
from pollect_sources_cloud.files import keep


class State(msgspec.Struct, frozen=True):
    """What is known."""

    #: The newest day that Apple has answered for; None before the first answer.
    day: date | None = None
    #: Whether nothing was sold on that day: the report on disk is an older one.
    no_sales: bool = False
    #: Days that Apple no longer has.
    gone: tuple[date, ...] = ()


class ReportFile:
    """`report_<vendor>.csv`, named as in 1.x; its state is in `.report_<vendor>.csv.state`."""

    def __init__(self, folder: Path, vendor: str) -> None:
        self.path = folder / f"report_{vendor}.csv"
        self._note = folder / f".report_{vendor}.csv.state"

    def read(self) -> bytes | None:
        """Return the report, None if there is none; raises `ProbeError`."""
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_REPORT_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ProbeError(f"cannot read {self.path}: {reason}") from error

    def read_state(self) -> State:
        """Return what was known when it was last written; nothing if that cannot be read."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            return State()

    def write(self, table: bytes) -> None:
        """Keep a report; raises `ProbeError`."""
        keep(self.path, table)

    def write_state(self, state: State, wanted: Collection[date]) -> None:
        """Keep what is known, of the past only what may still be asked for."""
        gone = [str(day) for day in state.gone if day in wanted]
        facts = {"day": state.day and str(state.day), "no_sales": state.no_sales, "gone": gone}
        keep(self._note, json.dumps(facts).encode())
