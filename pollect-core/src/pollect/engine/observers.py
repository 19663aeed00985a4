"""Hooks that only look on: each is called by itself, and one that raises costs nobody else."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

log = logging.getLogger(__name__)


class Observers:
    """The observing hooks of all plugins.

    `hooks` is pluggy's hook relay, or None for no plugins.
    """

    def __init__(self, hooks: Any = None) -> None:
        self._hooks = hooks
        self._known: dict[str, list[Any]] = {}
        self._failed: set[Callable[..., Any]] = set()

    def notify(self, hook: str, **situation: Any) -> None:
        """Tell every observer."""
        for _ in self.collect(hook, **situation):
            pass

    def collect(self, hook: str, **situation: Any) -> Iterator[Any]:
        """Yield what each observer returns, in the order of registration."""
        known = self._known.get(hook)
        if known is None:
            caller = getattr(self._hooks, hook, None)
            known = self._known[hook] = list(caller.get_hookimpls()) if caller else []
        for observer in known:
            try:
                yield observer.function(*[situation[name] for name in observer.argnames])
            except Exception as error:
                if observer.function not in self._failed:
                    self._failed.add(observer.function)
                    log.error(
                        "plugin %s failed in %s (logged once): %s",
                        observer.plugin_name,
                        hook,
                        error,
                        exc_info=error,
                    )
