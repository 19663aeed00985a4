"""How one source fares: what its probes brought, since when, and what the log says about it."""

import logging

from pollect.errors import describe
from pollect.model import Outcome, ProbeResult, SourceId, SourceStatus

# Asked at every probe, and on Python 3.11 the name of a member costs a call.
_OK = Outcome.OK


class Health:
    """Counts the outcomes of one source; logs once when it goes down and once when it is back."""

    def __init__(self, source: SourceId, log: logging.Logger) -> None:
        self._source = source
        self._log = log
        self.outcome: Outcome | None = None
        self._reason = ""
        self._since: float | None = None
        self._last_success: float | None = None
        self._duration: float | None = None
        self._last_failure: float | None = None
        self._last_error = ""
        self._probes = dict.fromkeys(Outcome, 0)
        self._troubles: tuple[str, ...] = ()
        self._trouble_count = 0
        self._troubled_since: float | None = None

    def take(self, result: ProbeResult) -> None:
        """Take note of the end of a probe."""
        self._probes[result.outcome] += 1
        self._duration = result.duration_seconds
        if result.outcome is _OK and self.outcome is _OK:
            self._last_success = result.time
            return  # by far the most frequent end
        self._note_change(result)
        if result.outcome.up:
            self._last_success = result.time
        else:
            self._last_failure, self._last_error = result.time, self._reason
        self._troubles, self._trouble_count = result.troubles, result.trouble_count
        if not result.troubles:
            self._troubled_since = None
        elif self._troubled_since is None:
            self._troubled_since = result.time

    def forget(self) -> None:
        """Start over as if the source had not been probed, but go on counting."""
        self.outcome, self._reason, self._since = None, "", None
        self._troubles, self._trouble_count, self._troubled_since = (), 0, None

    def status(
        self, *, series: int, skipped: int, dropped: int = 0, next_probe: float | None = None
    ) -> SourceStatus:
        return SourceStatus(
            source=self._source,
            outcome=self.outcome,
            reason=self._reason,
            since=self._since,
            last_success=self._last_success,
            duration_seconds=self._duration,
            series=series,
            probes=dict(self._probes),
            skipped=skipped,
            dropped=dropped,
            troubles=self._troubles,
            trouble_count=self._trouble_count,
            troubled_since=self._troubled_since,
            last_failure=self._last_failure,
            last_error=self._last_error,
            next_probe=next_probe,
        )

    def _note_change(self, result: ProbeResult) -> None:
        was_up = self.outcome is None or self.outcome.up
        is_up = result.outcome.up
        reason = "" if is_up else describe(result.error)
        if was_up and not is_up:
            if result.outcome is Outcome.BUG:
                self._log.error(
                    "down, by a mistake in the source: %s", reason, exc_info=result.error
                )
            else:
                self._log.warning("down: %s", reason)
        elif is_up and not was_up:
            self._log.info("up again after %.0f s", result.time - (self._since or result.time))
        elif not is_up:
            self._log.debug("still down: %s", reason)
        if self.outcome is None or was_up != is_up:
            self._since = result.time
        self.outcome = result.outcome
        self._reason = reason
