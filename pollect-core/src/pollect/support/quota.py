"""Budgets of cloud accounts: so many calls in so much time, for all sources of an account.

The sources of one account in a process share one `Budget`. It counts calls in a file, so a
restart begins with what was used before, and it never lets more through than the account has in
any window of that length, wherever the window starts::

    def __init__(self, config: AcmeConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._budget = shared_budget(
            context, "Acme", config.client_id, Quota(1450, 86_400), Quota(120, 600)
        )

    def probe(self) -> Iterable[Sample]:
        self._budget.spend()  # raises TargetUnavailable when nothing is left
        response = self._client.get(URL, statuses=(200, 429))
        if response.status == 429:
            wait = retry_after(response.headers, self.context.clock)
            raise self._budget.refused(wait_seconds=wait)
        self._budget.answered()
        ...

What is left is shown as `pollect_quota_remaining{service, account, window}`; accounts are
numbered in the order of the config, so the metric does not show who it is.
"""

import hashlib
import json
import logging
import math
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pollect.errors import TargetUnavailable
from pollect.model import Batch, Metric, Sample, SourceId
from pollect.plugin import Clock, SourceContext
from pollect.support.http_fields import parse_retry_after
from pollect.support.private_files import read_private, write_private

QUOTA_FOLDER = "quota"
SOURCE = SourceId("pollect", "quota")
_LABELS = ("service", "account", "window")
REMAINING = Metric(
    "remaining",
    help="Calls left in the window of a cloud account; 0 while the service refuses calls.",
    labels=_LABELS,
)
LIMIT = Metric("limit", help="Calls that a cloud account may make in the window.", labels=_LABELS)

#: How long to be silent after refusals that name no time, the first and each after it.
SILENT_SECONDS = (900.0, 1800.0)
#: Parts a window is counted in; a part counts until all of it lies outside of the window.
_PARTS = 96
#: No service means more than that.
_MOST_CALLS = 10_000_000
_DIGEST_BYTES = 8

log = logging.getLogger(__name__)


class Quota(msgspec.Struct, frozen=True):
    """So many calls in any window of so many seconds."""

    calls: int
    seconds: float


class _Window:
    """The calls of one quota, counted in parts of its window."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.calls = quota.calls
        self.part_seconds = quota.seconds / _PARTS
        #: Number of a part since 1970 -> calls in it.
        self.parts: dict[int, int] = {}

    def used(self, now: float) -> int:
        current = int(now // self.part_seconds)
        self.parts = {n: c for n, c in self.parts.items() if n >= current - _PARTS}
        # A clock set back a little leaves calls in what is now the future: they count. Those that
        # lie further off wait until the clock is right again.
        return sum(c for n, c in self.parts.items() if n <= current + _PARTS)

    def remaining(self, now: float) -> int:
        return max(0, self.calls - self.used(now))

    def add(self, calls: int, now: float) -> None:
        current = int(now // self.part_seconds)
        self.parts[current] = self.parts.get(current, 0) + calls

    def free_at(self, calls: int, now: float) -> float:
        """Return the Unix time at which `calls` more fit in, if there are no other callers."""
        excess = self.used(now) + calls - self.calls
        for number in sorted(self.parts):
            if excess <= 0:
                break
            excess -= self.parts[number]
            now = max(now, (number + _PARTS + 1) * self.part_seconds)
        return now


class Budget:
    """What is left of an account's quotas; get it from `shared_budget`. Safe in threads."""

    def __init__(
        self, service: str, account: int, quotas: Sequence[Quota], file: Path, clock: Clock
    ) -> None:
        self.service = service
        #: A number, in the order of the config.
        self.account = account
        self._windows = [_Window(quota) for quota in quotas]
        self._longest_seconds = max((quota.seconds for quota in quotas), default=86_400.0)
        self._file = file
        self.clock = clock
        self._lock = threading.Lock()
        self._loaded = False
        #: What `samples` found at the last change, for those who must not wait for the disk.
        self._shown: Sequence[Sample] = ()
        self._warned = False
        self._blocked_until = 0.0
        #: Refusals in a row that named no time.
        self._refusals = 0
        self._sharers: weakref.WeakSet[object] = weakref.WeakSet()

    def join(self, sharer: object) -> None:
        """Take note that a source shares the budget from now on; call it in `open()`."""
        self._sharers.add(sharer)

    def leave(self, sharer: object) -> None:
        """Take note that it no longer does; call it in `close()`."""
        self._sharers.discard(sharer)

    @property
    def sharers(self) -> int:
        """How many sources share the budget, so that each of them can come less often."""
        return len(self._sharers)

    def spend(self, calls: int = 1) -> None:
        """Count calls that are about to be made.

        Raises `TargetUnavailable`, and counts nothing, while the service refuses calls or when
        there are not so many left.
        """
        with self._lock:
            now = self._now()
            if self._blocked(now):
                raise self._refusal(now)
            for window in self._windows:
                if window.used(now) + calls > window.calls:
                    free_at = window.free_at(calls, now)
                    raise TargetUnavailable(
                        f"{self.service}: all {window.calls} calls of the last "
                        f"{_duration(window.quota.seconds)} are used; "
                        f"the next one is due at {_local_time(free_at, now)}",
                        retry_in=free_at - now,
                    )
            for window in self._windows:
                window.add(calls, now)
            self._save()

    def answered(self) -> None:
        """Take note that the service accepted a call."""
        with self._lock:
            self._refusals = 0

    def refused(
        self,
        *,
        wait_seconds: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> TargetUnavailable:
        """Take note that the service refused a call as one too many; return the error to raise.

        `wait_seconds` is what `Retry-After` says, `until` the Unix time of a stated reset, `limit`
        the number of calls the service says the account has. What makes no sense is passed over:
        without a time there is silence for 15 minutes, after a second refusal for 30.
        """
        with self._lock:
            now = self._now()
            waits = (wait_seconds, None if until is None else until - now)
            stated = [wait for wait in waits if wait is not None and 0 < wait < math.inf]
            wait_seconds = max(stated, default=0.0)
            if not stated:
                wait_seconds = SILENT_SECONDS[min(self._refusals, len(SILENT_SECONDS) - 1)]
                self._refusals += 1
            # A reset beyond the window is a mistake of the service, or of this clock.
            self._blocked_until = now + min(wait_seconds, self._longest_seconds)
            if limit is not None:
                self._correct(limit)
            self._save()
            return self._refusal(now)

    def state_limit(self, calls: int, *, remaining: int | None = None) -> None:
        """Take over what the service says of itself: the calls of a window, and how many are left.

        Without refusing anything; `remaining` below our count means that somebody else calls, too.
        """
        with self._lock:
            now = self._now()
            window = self._correct(calls)
            if window is not None and remaining is not None and 0 <= remaining <= window.calls:
                others = window.remaining(now) - remaining
                if others > 0:
                    window.add(others, now)
            self._save()

    @property
    def blocked_until(self) -> float | None:
        """Unix time until which the service refuses calls; None if it does not."""
        with self._lock:
            return self._blocked_until if self._blocked(self._now()) else None

    def samples(self) -> list[Sample]:
        """Return what is left of each window, and the limits."""
        with self._lock:
            return self._samples(self._now())

    def shown(self) -> Sequence[Sample]:
        """Return what `samples` does, without waiting for a disk that hangs.

        It is as of the last change while another thread has the budget, and empty before the first
        call.
        """
        if not self._lock.acquire(blocking=False):
            return self._shown
        try:
            return self._samples(self.clock.time()) if self._loaded else ()
        finally:
            self._lock.release()

    def _samples(self, now: float) -> list[Sample]:
        blocked = self._blocked(now)
        found: list[Sample] = []
        for window in self._windows:
            labels = (self.service, str(self.account), f"{window.quota.seconds:g}")
            found.append(REMAINING.sample(0 if blocked else window.remaining(now), *labels))
            found.append(LIMIT.sample(window.calls, *labels))
        return found

    def _blocked(self, now: float) -> bool:
        # What lies further off than a block can last was written when the clock was wrong.
        return 0 < self._blocked_until - now <= self._longest_seconds

    def _correct(self, calls: object) -> _Window | None:
        """Set the limit of the window that `calls` is meant for: the one with the nearest limit."""
        if isinstance(calls, bool) or not isinstance(calls, int) or not 0 < calls < _MOST_CALLS:
            return None
        if not self._windows:
            return None
        window = min(self._windows, key=lambda known: abs(math.log(calls / known.quota.calls)))
        window.calls = calls
        return window

    def _refusal(self, now: float) -> TargetUnavailable:
        until = _local_time(self._blocked_until, now)
        return TargetUnavailable(
            f"{self.service}: the service refuses calls of this account until {until}",
            retry_in=self._blocked_until - now,
        )

    def _now(self) -> float:
        if not self._loaded:
            self._loaded = True
            self._load()
        return self.clock.time()

    def _load(self) -> None:
        try:
            data = json.loads(read_private(self._file))
            self._blocked_until = float(data["blocked_until"])
            for window in self._windows:
                kept = data["windows"].get(_key(window.quota), {})
                window.parts = {int(n): int(c) for n, c in kept.get("parts", {}).items()}
                self._correct_if_kept(window, kept.get("limit"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning(
                "%s: the calls made so far are unknown, counting starts at 0: %s",
                self._file,
                error if isinstance(error, OSError) else "the file is damaged",
            )

    @staticmethod
    def _correct_if_kept(window: _Window, limit: object) -> None:
        if isinstance(limit, int) and 0 < limit < _MOST_CALLS:
            window.calls = limit

    def _save(self) -> None:
        self._shown = self._samples(self.clock.time())
        windows = {
            _key(window.quota): {"limit": window.calls, "parts": window.parts}
            for window in self._windows
        }
        content = json.dumps({"blocked_until": self._blocked_until, "windows": windows})
        try:
            # Not forced onto the disk: an SD card has a life to lose, and a power cut costs a call.
            write_private(self._file, content.encode(), durable=False)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s: cannot keep the number of calls made, a restart counts from 0: %s",
                    self._file,
                    error.strerror or error,
                )


_budgets: weakref.WeakValueDictionary[tuple[Path, str], Budget] = weakref.WeakValueDictionary()
_budgets_lock = threading.Lock()


def shared_budget(context: SourceContext, service: str, account: str, *quotas: Quota) -> Budget:
    """Return the budget of an account; no I/O, so call it in `__init__` of a source.

    `account` may be anything that tells accounts of `service` apart; only a digest of it is kept.
    """
    digest = hashlib.blake2b(
        f"{service}\0{account}".encode(), digest_size=_DIGEST_BYTES
    ).hexdigest()
    file = context.state_dir / QUOTA_FOLDER / f"{service}-{digest}.json"
    with _budgets_lock:
        budget = _budgets.get((file, digest))
        if budget is None:
            taken = {known.account for known in _budgets.values() if known.service == service}
            number = next(n for n in range(1, len(taken) + 2) if n not in taken)
            budget = Budget(service, number, quotas, file, context.clock)
            _budgets[file, digest] = budget
        return budget


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait; None without one that makes sense."""
    return parse_retry_after(headers.get("Retry-After", ""), clock.time())


def describe_budgets() -> list[Batch]:
    """Return the self metrics of all budgets in this process; waits for no disk."""
    with _budgets_lock:
        known = sorted(_budgets.values(), key=lambda budget: (budget.service, budget.account))
    samples = [sample for budget in known for sample in budget.shown()]
    return [Batch(SOURCE, samples, known[0].clock.time())] if samples else []


def _key(quota: Quota) -> str:
    return f"{quota.seconds:g}"


def _duration(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            count = int(seconds // length)
            return unit if count == 1 else f"{count} {unit}s"
    return f"{seconds:g} seconds"


def _local_time(moment: float, now: float) -> str:
    """Say when something is: the time of day, and the date if it is not today."""
    there, here = time.localtime(moment), time.localtime(now)
    same_day = there[:3] == here[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", there)
