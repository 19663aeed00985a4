"""`Event` of pollect 1.x."""

from collections.abc import Callable
from typing import Any


class Event:
    """Calls its listeners: `event += listener`, `event -= listener`, `event.fire(...)`."""

    def __init__(self) -> None:
        self._listeners: list[Callable[..., Any]] = []

    def fire(self, *args: Any, **kwargs: Any) -> None:
        """Call every listener in the order they came."""
        for listener in list(self._listeners):
            listener(*args, **kwargs)

    def __add__(self, listener: Callable[..., Any]) -> "Event":
        self._listeners.append(listener)
        return self

    def __sub__(self, listener: Callable[..., Any]) -> "Event":
        self._listeners.remove(listener)
        return self
