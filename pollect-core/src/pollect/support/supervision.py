"""What is known of work that goes on between probes: whether it works, else why not.

`pollect.support.background` and `pollect.support.async_background` share this; authors use those.
"""

import logging
from typing import ClassVar

from pollect.errors import (
    AuthenticationFailed,
    BadResponse,
    ProbeError,
    TargetUnavailable,
    describe,
)
from pollect.plugin import Clock, ProbeValue, Source, SourceConfigT
from pollect.support.backoff import Backoff

#: Work that lived this long was sound: the next pause is a short one again. A peer that accepts
#: and hangs up at once never gets there.
SOUND_SECONDS = 60.0
#: How long `stop` waits for the work to notice.
STOP_SECONDS = 5.0
#: How long the first probe waits for the first attempt to work or fail.
FIRST_SECONDS = 5.0
#: Nor longer than this part of the time between two probes, so that no tick is skipped for it.
_SHARE = 0.8


class Supervision:
    """The attempts of one piece of work, one after the other. Not safe for threads by itself."""

    def __init__(
        self,
        log: logging.Logger,
        clock: Clock,
        *,
        backoff: Backoff | None,
        silence_seconds: float | None,
        log_failures: bool,
    ) -> None:
        self._clock = clock
        self.silence_seconds = silence_seconds
        self._log = log
        self._log_failures = log_failures
        self._backoff = backoff or Backoff()
        self.reset()

    def reset(self) -> None:
        """Forget everything: the work starts for the first time."""
        #: Whether the device answers now.
        self.up = False
        #: Why not, once an attempt failed.
        self.error: BaseException | None = None
        #: Whether an attempt runs, in contrast to the pause after it.
        self._active = False
        #: Monotonic seconds of the last sign of life, or of the start of the attempt.
        self._heard = self._clock.monotonic()
        self._up_since = self._heard
        self._failing = False
        self._slow = False

    @property
    def decided(self) -> bool:
        """Whether the first attempt has worked or failed."""
        return self.up or self.error is not None

    @property
    def silence_left(self) -> float | None:
        """Seconds until the peer has been silent for too long; None if there is no limit now."""
        if self.silence_seconds is None or not self._active:
            return None
        return self._heard + self.silence_seconds - self._clock.monotonic()

    def begin(self) -> None:
        """Note that an attempt starts, or gets another chance."""
        self._active = True
        self._heard = self._clock.monotonic()

    def works(self) -> None:
        """Note a sign of life."""
        self._heard = self._clock.monotonic()
        if not self.up:
            self.up, self._up_since, self.error = True, self._heard, None
        if self._failing:
            self._failing = False
            if self._log_failures:
                self._log.info("works again")

    def silence(self) -> TargetUnavailable:
        """Return the failure of work whose peer was silent for too long."""
        return TargetUnavailable(f"silent for {self.silence_seconds:g} s, connecting again")

    def fail(self, error: BaseException) -> None:
        """Note why the work does not work; the first failure in a row reaches the log."""
        if self.up and self._clock.monotonic() - self._up_since >= SOUND_SECONDS:
            self._backoff.reset()
        self.up, self.error, self._active = False, error, False
        if self._slow or isinstance(error, AuthenticationFailed):
            self._backoff.exhaust()  # trying often does not help, and may lock an account
        self._slow = False
        if not self._failing:
            self._failing = True
            self._report(error)
        # The frames of the traceback hold what the work held: sockets, messages, secrets.
        error.__traceback__ = None

    def slow_down(self) -> None:
        """Let the failure to come be followed by the longest pause."""
        self._slow = True

    def pause(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        return self._backoff.pause()

    def check(self) -> None:
        """Return if the device answers; raises a `ProbeError` with the reason otherwise."""
        if self.up:
            return
        if self.error is None:
            raise TargetUnavailable("connecting, no answer yet")
        reason = describe_reason(self.error)
        for kind in (AuthenticationFailed, BadResponse):
            if isinstance(self.error, kind):
                raise kind(reason) from self.error
        raise TargetUnavailable(reason) from self.error

    def _report(self, error: BaseException) -> None:
        if not isinstance(error, ProbeError | OSError):
            self._log.error("unexpected %s; trying again", describe(error), exc_info=error)
        elif self._log_failures:
            self._log.warning("%s; trying again", describe_reason(error))


def describe_reason(error: BaseException) -> str:
    """Return why an attempt failed, in one line; of an `OSError` its text alone."""
    if isinstance(error, OSError) and error.strerror:
        return " ".join(error.strerror.split())
    return describe(error)


def ended_without_reason() -> TargetUnavailable:
    """Return the failure of work that returned without being asked to."""
    return TargetUnavailable("the device closed the connection")


class PushSource(Source[SourceConfigT]):
    """A source whose device sends on its own, for `BackgroundSource` and `AsyncBackgroundSource`.

    While the device does not answer, `probe` raises the reason, and the engine keeps the last
    values as long as they are fresh. The first probe waits some seconds for the first answer.
    """

    #: Seconds without `self.background.works()` after which the connection counts as dead; None
    #: for protocols that notice by themselves within a minute.
    silence_seconds: ClassVar[float | None] = None

    def latest(self) -> ProbeValue:
        """Return the values of now, from what `receive` heard; as `probe` may."""
        raise NotImplementedError

    @property
    def first_patience(self) -> float:
        """Seconds that a probe may wait for the first answer."""
        return min(FIRST_SECONDS, self.deadline_seconds() / 2, self.context.interval * _SHARE)
