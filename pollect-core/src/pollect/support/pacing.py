"""Requests no closer together than a service likes, whatever the tick of the source.

A cloud that is asked every 10 seconds blocks the account. A source of one answers the probes in
between from its last result::

    def open(self) -> None:
        self._pace = Pace[list[Sample]](90.0, self.context.clock)

    def probe(self) -> Iterable[Sample]:
        return self._pace.read(self._fetch)
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pollect.errors import AuthenticationFailed
from pollect.plugin import Clock

#: How long a service is left alone after it refused the credentials.
REFUSED_SECONDS = 900.0
#: Ticks come a little early or late: what is due within this share of the distance is due now.
_TOLERANCE = 0.05

ResultT = TypeVar("ResultT")


class Pace(Generic[ResultT]):
    """Lets one request through per `distance` seconds and repeats its result in between.

    A failure is repeated just as long, and one of credentials for at least 15 minutes, so that no
    account is locked. For the probes of one source, which never overlap.
    """

    def __init__(self, distance: float, clock: Clock) -> None:
        #: In seconds; may be changed at any time.
        self.distance = distance
        self._clock = clock
        self._due = float("-inf")
        self._result: ResultT | None = None
        self._failure: Exception | None = None
        self._key: Hashable = None

    def read(self, fetch: Callable[[], ResultT], key: Hashable = None) -> ResultT:
        """Return what `fetch` returns, or what it returned last if that is not long ago.

        A failure is not repeated when `key` is another one than at the last call: give it what a
        cure changes, such as `TokenFile.version()`. Raises what `fetch` raises.
        """
        now = self._clock.monotonic()
        if key != self._key and self._failure is not None:
            self._due = now
        self._key = key
        if now < self._due - self.distance * _TOLERANCE:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._result is not None:
                return self._result
        self._result, self._failure = None, None
        silence = 0.0
        try:
            self._result = fetch()
        except Exception as error:
            self._failure = error
            silence = REFUSED_SECONDS if isinstance(error, AuthenticationFailed) else 0.0
            raise
        finally:
            # The fetch may have changed the distance.
            self._due = now + max(self.distance, silence)
        return self._result

    def take_over(self, previous: "Pace[ResultT]") -> None:
        """Go on where another one was; a failure is forgotten, since the config changed."""
        if previous._failure is None:
            self._due, self._result = previous._due, previous._result
