"""How checks of hosts and pages end, for charts."""

import enum

from pollect.api import Panel


def result_panel(codes: type[enum.IntEnum]) -> Panel:
    """Return how to show a result code: every way by its name, and 0 as the good one."""
    return Panel(
        states={code.value: code.name.lower().replace("_", " ") for code in codes},
        good=(0,),
        bad=tuple(code for code in codes if code),
    ).needing("details")
