"""Parts of a source that fail while the others work.

The engine makes them part of the result of a probe: its outcome is then `Outcome.TROUBLED`.
"""

import logging
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager

from pollect.errors import ProbeError, describe

#: Texts of one result at most, and characters of each; what is beyond is counted or cut.
MOST_TEXTS = 10
#: Problems named of one part.
MOST_PROBLEMS = 3
#: Parts in trouble at the same time, beyond which the oldest is forgotten: a source that gives a
#: part another name at every probe never ends a trouble. And kinds of reasons logged for one part.
MOST_PARTS, MOST_KINDS = 10_000, 100
LONGEST_TEXT = 200


class Troubles:
    """Which parts of a source (disks, devices, zones) fail at the moment.

    A source that reads many things reports what works and notes here what does not: the log gets
    one warning when a part starts to fail, one line when it works again, and in between a warning
    for each kind of reason that is new. A part stays in trouble until `works` or `keep`.

    A part is a text, or any key together with the text to show for it (`shown`), for parts that
    differ only in what must not be shown.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        #: Part -> the text to show and the latest reason.
        self._failing: dict[Hashable, tuple[str, str]] = {}
        #: Part -> the kinds of reason logged since it started to fail.
        self._logged: dict[Hashable, set[Hashable]] = {}

    def failed(
        self, part: Hashable, reason: object, kind: Hashable = None, *, shown: str | None = None
    ) -> None:
        """Note that `part` failed; the first time in a row reaches the log, and each new `kind`.

        A kind is what does not vary from one failure to the next, as the type of an error: a text
        with a time or a port in it would fill the log.
        """
        label = _line(part if shown is None else shown)
        text = _line(reason)
        if part not in self._failing and len(self._failing) >= MOST_PARTS:
            self._forget(next(iter(self._failing)))
        known = self._logged.setdefault(part, set())
        if kind not in known and len(known) < MOST_KINDS:
            self._log.warning("%s: %s", label, text)
            known.add(kind)
        self._failing[part] = (label[:LONGEST_TEXT], text[:LONGEST_TEXT])

    def works(self, part: Hashable) -> None:
        """Note that `part` works."""
        if self._failing and (was := self._failing.pop(part, None)) is not None:
            self._logged.pop(part, None)
            self._log.info("%s: works again", was[0])

    def note(self, part: Hashable, problems: Sequence[str]) -> None:
        """Note what cannot be read of a part that is there; nothing means that it works."""
        if not problems:
            self.works(part)
            return
        more = len(problems) - MOST_PROBLEMS
        told = [*problems[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else ())]
        self.failed(part, "; ".join(told))

    def keep(self, parts: Collection[Hashable]) -> None:
        """Forget every part that is not among `parts`: it no longer exists."""
        for part in self._failing.keys() - parts:
            self._forget(part)

    def _forget(self, part: Hashable) -> None:
        del self._failing[part], self._logged[part]

    @contextmanager
    def part(self, part: Hashable, *errors: type[Exception]) -> Iterator[None]:
        """Run the body as the reading of one part: it works, or it failed and the source goes on.

        Caught are `ProbeError`, `OSError` and the `errors` named; anything else is a mistake in
        the source and passes.
        """
        expected: tuple[type[Exception], ...] = (ProbeError, OSError, *errors)
        try:
            yield
        except expected as error:
            self.failed(part, error, type(error).__qualname__)
        else:
            self.works(part)

    def texts(self) -> tuple[str, ...]:
        """Return what is wrong, a bounded number of bounded lines, the first troubles first."""
        failing = list(self._failing.values())
        texts = [_cut(f"{label}: {reason}") for label, reason in failing[:MOST_TEXTS]]
        if len(failing) > MOST_TEXTS:
            texts.append(f"and {len(failing) - MOST_TEXTS} more")
        return tuple(texts)

    def __len__(self) -> int:
        return len(self._failing)

    def __contains__(self, part: Hashable) -> bool:
        return part in self._failing

    def __str__(self) -> str:
        return "; ".join(self.texts())


def _line(text: object) -> str:
    return describe(text) if isinstance(text, BaseException) else " ".join(str(text).split())


def _cut(text: str) -> str:
    return (
        text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )
