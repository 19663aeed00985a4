"""Looks for plugins in a process of its own: imports and metadata take 2.4 MB."""

from collections.abc import Sequence

import msgspec

from pollect.discovery.plugins import Found
from pollect.forked import Task


class PluginSearch(Task):
    """A search for plugins, for a process of its own."""

    def __init__(self) -> None:
        super().__init__(_find)

    def result(self) -> Sequence[Found] | None:
        """Return the plugins that are installed; None if they are to be looked for here."""
        answer = self.answer()
        return None if answer is None else msgspec.json.decode(answer, type=list[Found])


def _find() -> bytes:
    from pollect.discovery.plugins import find_plugins

    return msgspec.json.encode(find_plugins())
