"""The worker threads of one executor: bounded, and never held up by calls that hang.

`threads` bounds how many calls run side by side, but a call counts only for a short patience: one
that takes longer is overdue, and another may start in its place. Calls of one key (sources of one
type that fared alike) are likely to hang together: while one of them is overdue, and when a call is
suspected beforehand, they start in a lane of their own (`OVERDUE_LANE`), bounded as a whole and for
each key. So however many hang, the others find `threads` workers, and there are never many more
threads than `threads`, that lane and the calls that were written off.

Brief calls run one after the other in one thread, as to wake another costs more than they do. Those
that still wait after the patience start side by side.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from queue import SimpleQueue

from pollect.engine.scheduler import Scheduler
from pollect.plugin import Clock

log = logging.getLogger(__name__)

#: Seconds after which a call is overdue, and the share of the tick if that is less.
LONGEST_PATIENCE = 0.05
PATIENCE_OF_TICK = 0.1
#: Overdue and suspected calls side by side at most, and those of one key.
OVERDUE_LANE = 64
OVERDUE_OF_ONE_KEY = 48
#: Threads that may be lost for good to calls that were written off; more of them fill the lane.
MOST_LOST = 64
#: Seconds until another try when the system refuses a thread.
THREAD_RETRY_SECONDS = 0.5


class WorkerCall:
    """One call in a worker thread."""

    __slots__ = ("_call", "brief", "key", "overdue", "started", "suspect", "written_off")

    def __init__(
        self,
        call: Callable[[], None] | None,
        key: Hashable = None,
        *,
        brief: bool = False,
        suspect: bool = False,
    ) -> None:
        self._call = call
        self.key = key
        #: It takes so little that others of its kind may as well wait for it.
        self.brief = brief
        #: It took too long the last time, so it starts in the lane for such calls.
        self.suspect = suspect
        #: Monotonic seconds; None while it waits.
        self.started: float | None = None
        #: It took too long to count against `threads`.
        self.overdue = False
        #: The lane no longer counts it; its thread is lost until the call returns.
        self.written_off = False

    def run(self) -> None:
        """Do what is to be done, in the thread."""
        if self._call is not None:
            self._call()


class Workers:
    """Runs calls in threads that are made when needed."""

    def __init__(
        self, name: str, threads: int, tick: float, *, clock: Clock, scheduler: Scheduler
    ) -> None:
        self._name = name
        self._threads = threads
        self._patience = min(LONGEST_PATIENCE, tick * PATIENCE_OF_TICK)
        self._clock = clock
        self._scheduler = scheduler
        # A lock and no condition for what happens once a call: it costs a third.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        #: Key -> the calls that wait; served in turn, so that no key waits for another's crowd.
        self._waiting: dict[Hashable, deque[WorkerCall]] = {}
        #: Calls with a place, on their way to a thread; None ends one.
        self._ready: SimpleQueue[WorkerCall | None] = SimpleQueue()
        #: Calls with a place, running or about to.
        self._placed: dict[WorkerCall, None] = {}
        #: Those of them that are brief and not overdue, and how many there may be.
        self._brief_calls = 0
        self._brief_places = 1
        self._overdue: dict[Hashable, int] = {}
        self._overdue_calls = 0
        self._lost = 0
        self._alive = 0
        self._made = 0
        self._refused = False
        self._watched = False
        self._stopped = False

    def submit(self, calls: Sequence[WorkerCall]) -> None:
        """Run each call as soon as there is a place for it, those of one key in this order."""
        with self._lock:
            if self._stopped:
                return
            for call in calls:
                queue = self._waiting.get(call.key)
                if queue is None:
                    queue = self._waiting[call.key] = deque()
                queue.append(call)
            self._fill_places()

    def write_off(self, call: WorkerCall) -> None:
        """Stop waiting for a running call: its thread ends when it returns."""
        with self._lock:
            if call in self._placed and not call.written_off:
                self._mark_overdue(call)
                if self._lost < MOST_LOST:
                    self._lost += 1
                    call.written_off = True
                    self._leave_lane(call)
                self._fill_places()

    def resize(self, threads: int) -> None:
        """Set how many calls run side by side."""
        with self._lock:
            self._threads = threads
            self._fill_places()

    def stop(self) -> None:
        """Drop what waits and let the threads end; does not wait for them."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            for _ in range(self._alive):
                self._ready.put(None)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no call runs; return whether that came true in time. Only after `stop`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._placed, timeout=seconds)

    def describe_load(self) -> str:
        """Return in words what the threads are busy with."""
        return f"{len(self._placed)} are busy, {self._overdue_calls + self._lost} of them for long"

    def _fill_places(self) -> None:
        """Give a place to every waiting call that may start, and threads to those placed."""
        while (call := self._next()) is not None:
            self._ready.put(call)
        self._staff()
        if self._waiting and not self._watched:
            # A call that runs now may become overdue, and another start in its place.
            self._watched = True
            again = self._clock.monotonic() + self._patience
            self._scheduler.call_at(again, self._find_overdue)

    def _next(self) -> WorkerCall | None:
        """Place the next waiting call that may start, and return it."""
        for key, calls in self._waiting.items():
            call = calls[0]
            if call.brief and self._brief_calls >= self._brief_places:
                continue
            held_up = call.suspect or key in self._overdue
            if not (self._lane_has_place(key) if held_up else self._has_place()):
                continue
            calls.popleft()
            if not calls:
                del self._waiting[key]
            elif len(self._waiting) > 1:
                self._waiting[key] = self._waiting.pop(key)  # behind the other keys
            self._placed[call] = None
            if call.brief:
                self._brief_calls += 1
            if held_up:
                self._mark_overdue(call)
            return call
        return None

    def _has_place(self) -> bool:
        return len(self._placed) - self._overdue_calls - self._lost < self._threads

    def _lane_has_place(self, key: Hashable) -> bool:
        if self._overdue_calls >= OVERDUE_LANE:
            return False
        return self._overdue.get(key, 0) < OVERDUE_OF_ONE_KEY

    def _staff(self) -> None:
        """Make the threads that placed calls need."""
        for _ in range(len(self._placed) - self._alive):
            try:
                threading.Thread(
                    target=self._work, name=f"pollect-{self._name}-{self._made + 1}", daemon=True
                ).start()
            except (RuntimeError, MemoryError) as error:
                if not self._refused:
                    log.error("%s: cannot start a thread, trying again: %s", self._name, error)
                self._refused = True
                again = self._clock.monotonic() + THREAD_RETRY_SECONDS
                self._scheduler.call_at(again, self._staff_again)
                return
            self._alive += 1
            self._made += 1
        if self._refused:
            self._refused = False
            log.info("%s: there are threads again", self._name)

    def _staff_again(self) -> None:
        with self._lock:
            if not self._stopped:
                self._staff()

    def _work(self) -> None:
        while (call := self._ready.get()) is not None:
            while call is not None:
                call.started = self._clock.monotonic()
                try:
                    call.run()
                except BaseException:
                    # Calls guard themselves; a mistake of ours must not cost a thread silently.
                    log.exception("a call of %s failed", self._name)
                with self._lock:
                    ended = call
                    self._end(ended)
                    call = self._next()
                    if ended.overdue or (ended.brief and call is not None and not call.brief):
                        self._fill_places()
                    if call is None and self._is_surplus():
                        self._alive -= 1
                        return
        with self._lock:
            self._alive -= 1

    def _end(self, call: WorkerCall) -> None:
        del self._placed[call]
        if call.brief and not call.overdue:
            self._brief_calls -= 1
        if call.written_off:
            self._lost -= 1
        elif call.overdue:
            self._leave_lane(call)
        if self._stopped:
            self._changed.notify_all()

    def _is_surplus(self) -> bool:
        """Whether a thread that found nothing to do is one more than `threads`."""
        return not self._stopped and self._alive - len(self._placed) > self._threads

    def _mark_overdue(self, call: WorkerCall) -> None:
        if not call.overdue:
            call.overdue = True
            if call.brief:
                self._brief_calls -= 1
            self._overdue_calls += 1
            self._overdue[call.key] = self._overdue.get(call.key, 0) + 1

    def _leave_lane(self, call: WorkerCall) -> None:
        self._overdue_calls -= 1
        self._overdue[call.key] -= 1
        if not self._overdue[call.key]:
            del self._overdue[call.key]

    def _find_overdue(self) -> None:
        with self._lock:
            self._watched = False
            limit = self._clock.monotonic() - self._patience
            for call in self._placed:
                if call.started is not None and call.started <= limit:
                    self._mark_overdue(call)
            self._brief_places = self._brief_places + 1 if self._waiting else 1
            self._fill_places()
