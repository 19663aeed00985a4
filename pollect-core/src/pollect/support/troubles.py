"""Parts of a source that fail while the others work: said once, and once when they are back."""

import logging
from collections.abc import Collection


class Troubles:
    """Which parts of a source (disks, devices, pools) fail at the moment.

    A source that reads many things reports what works and tells the log about the rest: one
    warning when a part begins to fail, one when it works again, nothing in between.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        self._failing: dict[str, str] = {}

    def failed(self, part: str, reason: object) -> None:
        """Note that `part` failed; only the first time in a row reaches the log."""
        if part not in self._failing:
            self._log.warning("%s: %s", part, reason)
        self._failing[part] = str(reason)

    def works(self, part: str) -> None:
        """Note that `part` works."""
        if self._failing and self._failing.pop(part, None) is not None:
            self._log.warning("%s: works again", part)

    def keep(self, parts: Collection[str]) -> None:
        """Forget every part that is not among `parts`: it no longer exists."""
        for part in self._failing.keys() - parts:
            del self._failing[part]

    def __contains__(self, part: str) -> bool:
        return part in self._failing

    def __str__(self) -> str:
        return "; ".join(f"{part}: {reason}" for part, reason in self._failing.items())
