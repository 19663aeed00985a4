"""What pollect gives a plugin and goes on reading from it."""

from typing import Any


class Given:
    """An attribute of a plugin that takes only what it is for.

    An author who needs the name for something else (`self.context`, for TLS) learns that at once;
    otherwise pollect would find that out in the middle of a reload. There is no `__get__`, so that
    reading stays as cheap as for any attribute.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, plugin: Any, value: object) -> None:
        if not isinstance(value, self._kind):
            raise TypeError(
                f"self.{self._name} is pollect's: expected a {self._kind.__name__}, got "
                f"{type(value).__name__}; use another name"
            )
        vars(plugin)[self._name] = value
