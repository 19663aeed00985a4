"""Parts of a source that fail while the others work: said once, and once when they are back."""

import logging
from collections.abc import Collection, Hashable


class Troubles:
    """Which parts of a source (disks, devices, pools) fail at the moment.

    A source that reads many things reports what works and tells the log about the rest: one
    warning when a part begins to fail, one when it works again, in between one only for a kind of
    reason that is new.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        self._failing: dict[str, str] = {}
        #: Part -> the kinds of reason told since it began to fail.
        self._told: dict[str, set[Hashable]] = {}

    def failed(self, part: str, reason: object, kind: Hashable = None) -> None:
        """Note that `part` failed; the first time in a row reaches the log, and each new `kind`.

        A kind is what does not vary from one failure to the next, as the type of an error: a text
        with a time or a port in it would fill the log.
        """
        told = self._told.setdefault(part, set())
        if kind not in told:
            self._log.warning("%s: %s", part, reason)
        told.add(kind)
        self._failing[part] = str(reason)

    def works(self, part: str) -> None:
        """Note that `part` works."""
        if self._failing and self._failing.pop(part, None) is not None:
            del self._told[part]
            self._log.warning("%s: works again", part)

    def keep(self, parts: Collection[str]) -> None:
        """Forget every part that is not among `parts`: it no longer exists."""
        for part in self._failing.keys() - parts:
            del self._failing[part], self._told[part]

    def __contains__(self, part: str) -> bool:
        return part in self._failing

    def __str__(self) -> str:
        return "; ".join(f"{part}: {reason}" for part, reason in self._failing.items())
