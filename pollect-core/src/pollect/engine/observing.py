"""The threads in which plugins are called that observe, or have samples of their own."""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pollect.engine.samples import Normalizer
from pollect.errors import describe
from pollect.model import Batch
from pollect.plugin import Clock, MetricFilter
from pollect.plugin.taken import taken

log = logging.getLogger(__name__)

#: Calls that may wait for one plugin.
MOST_WAITING = 1000
#: Seconds a scrape waits for the samples of a plugin; one that took longer the last time is not
#: waited for, its answer before stands in as long as it is not older than this.
ANSWER_SECONDS = 0.25
OLDEST_ANSWER_SECONDS = 60.0


class Listener:
    """Calls one plugin's observers from a thread of its own, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, Any, Mapping[str, Any]]] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._dropped = 0
        self._failed: set[str] = set()

    def put(self, hook: str, implementation: Any, situation: Mapping[str, Any]) -> None:
        with self._changed:
            if self._stopping:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
                if self._dropped == 1:
                    log.error(
                        "plugin %s does not keep up with %s: calls are being left out",
                        self._name,
                        hook,
                    )
                return
            self._waiting.append((hook, implementation, situation))
            if self._thread is None:
                self._thread = _started(self._run, f"pollect-observer-{self._name}")
            self._changed.notify()

    def stop(self, seconds: float) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (call := self._next()) is not None:
            hook, implementation, situation = call
            try:
                implementation.function(*[situation[name] for name in implementation.argnames])
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                _log_failure(self._failed, implementation, hook, error)

    def _next(self) -> tuple[str, Any, Mapping[str, Any]] | None:
        with self._changed:
            if self._dropped and not self._waiting:
                log.info("plugin %s keeps up again, %d calls left out", self._name, self._dropped)
                self._dropped = 0
            while not self._waiting and not self._stopping:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None


class Asker:
    """Asks one plugin for samples from a thread of its own."""

    def __init__(self, implementation: Any, clock: Clock) -> None:
        self._implementation = implementation
        self._clock = clock
        self._normalizer = Normalizer((), MetricFilter(), log)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = False
        self._stopping = False
        self._slow = False
        self._slow_logged = False
        self._answer: Sequence[Batch] = ()
        self._answered_at = 0.0
        self._failed: set[str] = set()

    def ask(self) -> None:
        with self._changed:
            self._asked = not self._stopping
            if self._thread is None:
                name = f"pollect-asker-{self._implementation.plugin_name}"
                self._thread = _started(self._run, name)
            self._changed.notify_all()

    def answer(self) -> Sequence[Batch]:
        with self._changed:
            if not self._slow and not self._changed.wait_for(
                lambda: not self._asked, timeout=ANSWER_SECONDS
            ):
                self._slow = True
                if not self._slow_logged:
                    self._slow_logged = True
                    log.warning(
                        "plugin %s takes long in pollect_self_samples: its samples may come late",
                        self._implementation.plugin_name,
                    )
            age = self._clock.monotonic() - self._answered_at
            return self._answer if age <= OLDEST_ANSWER_SECONDS else ()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._asked and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
            asked_at = self._clock.monotonic()
            batches = self._call()
            with self._changed:
                self._answer, self._answered_at = batches, self._clock.monotonic()
                self._slow = self._answered_at - asked_at > ANSWER_SECONDS
                self._asked = False
                self._changed.notify_all()

    def _call(self) -> Sequence[Batch]:
        try:
            return [self._clean(batch) for batch in taken(self._implementation.function())]
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            _log_failure(self._failed, self._implementation, "pollect_self_samples", error)
            return ()

    def _clean(self, batch: Batch) -> Batch:
        if not isinstance(batch, Batch):
            raise TypeError(f"expected a Batch, got {type(batch).__name__}")
        samples = self._normalizer.clean(batch.samples)
        return Batch(batch.source, samples, batch.time, batch.static_labels)


def _started(run: Any, name: str) -> threading.Thread | None:
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        log.error("%s: cannot start a thread: %s", name, error)
        return None
    return thread


def _log_failure(failed: set[str], implementation: Any, hook: str, error: BaseException) -> None:
    if hook not in failed:
        failed.add(hook)
        log.error(
            "plugin %s failed in %s (logged once): %s",
            implementation.plugin_name,
            hook,
            describe(error),
            exc_info=error,
        )
