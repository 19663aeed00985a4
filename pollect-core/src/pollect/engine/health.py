"""How one source fares: what its probes brought, since when, and what the log says about it."""

import logging
import threading

from pollect.errors import describe
from pollect.model import Outcome, ProbeResult, SourceId, SourceStatus

# Asked at every probe, and on Python 3.11 the name of a member costs a call.
_OK = Outcome.OK


class Health:
    """Counts the outcomes of one source; logs once when it goes down and once when it is back.

    Probes are taken note of one after the other; any thread may ask for the status meanwhile, and
    sees all of a probe or nothing of it.
    """

    def __init__(self, source: SourceId, log: logging.Logger) -> None:
        self._source = source
        self._log = log
        # Never held while something is logged: a handler may hang.
        self._lock = threading.Lock()
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
        if result.outcome is _OK and self.outcome is _OK:
            with self._lock:
                self._probes[_OK] += 1
                self._duration = result.duration_seconds
                self._last_success = result.time
            return  # by far the most frequent end
        is_up = result.outcome.up
        reason = "" if is_up else describe(result.error)
        self._log_change(result, reason)
        with self._lock:
            self._probes[result.outcome] += 1
            self._duration = result.duration_seconds
            if self.outcome is None or self.outcome.up != is_up:
                self._since = result.time
            self.outcome, self._reason = result.outcome, reason
            if is_up:
                self._last_success = result.time
            else:
                self._last_failure, self._last_error = result.time, reason
            self._troubles, self._trouble_count = result.troubles, result.trouble_count
            if not result.troubles:
                self._troubled_since = None
            elif self._troubled_since is None:
                self._troubled_since = result.time

    def forget(self) -> None:
        """Start over as if the source had not been probed, but go on counting."""
        with self._lock:
            self.outcome, self._reason, self._since = None, "", None
            self._troubles, self._trouble_count, self._troubled_since = (), 0, None

    def status(
        self, *, series: int, skipped: int, dropped: int = 0, next_probe: float | None = None
    ) -> SourceStatus:
        with self._lock:
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

    def _log_change(self, result: ProbeResult, reason: str) -> None:
        was_up = self.outcome is None or self.outcome.up
        is_up = result.outcome.up
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
