"""Hooks that only look on: each plugin is called in threads of its own.

However long one takes and whatever it raises, nothing else waits for it: what it cannot keep up
with is dropped and counted.
"""

import threading
from typing import TYPE_CHECKING, Any

from pollect.model import Batch
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.engine.observing import Asker, Listener


class Observers:
    """The observing hooks of all plugins.

    `hooks` is pluggy's hook relay, or None for no plugins.
    """

    def __init__(self, hooks: Any = None, *, clock: Clock) -> None:
        self._hooks = hooks
        self._clock = clock
        self._known: dict[str, list[Any]] = {}
        self._listeners: dict[str, Listener] = {}
        self._lock = threading.Lock()
        self._askers: list[Asker] | None = None

    def has(self, hook: str) -> bool:
        """Whether any plugin has this hook."""
        known = self._known.get(hook)
        if known is None:
            known = self._known[hook] = self._implementations(hook)
        return bool(known)

    def notify(self, hook: str, **situation: Any) -> None:
        """Let every observer know, in its own time."""
        if not self.has(hook):
            return
        from pollect.engine.observing import Listener

        for implementation in self._known[hook]:
            with self._lock:
                name = implementation.plugin_name
                listener = self._listeners.get(name)
                if listener is None:
                    listener = self._listeners[name] = Listener(name)
            listener.put(hook, implementation, situation)

    def self_batches(self) -> list[Batch]:
        """Return what plugins add to the metrics of pollect, as far as they answer in time."""
        with self._lock:
            if self._askers is None:
                self._askers = self._new_askers()
        for asker in self._askers:
            asker.ask()
        return [batch for asker in self._askers for batch in asker.answer()]

    def stop(self, seconds: float) -> None:
        """Let the observers take what waits for them, for `seconds` at most."""
        until = self._clock.monotonic() + seconds
        for listener in self._listeners.values():
            listener.stop(max(0.0, until - self._clock.monotonic()))
        for asker in self._askers or ():
            asker.stop()

    def _new_askers(self) -> "list[Asker]":
        found = self._implementations("pollect_self_samples")
        if not found:
            return []
        from pollect.engine.observing import Asker

        return [Asker(implementation, self._clock) for implementation in found]

    def _implementations(self, hook: str) -> list[Any]:
        caller = getattr(self._hooks, hook, None)
        return list(caller.get_hookimpls()) if caller else []
