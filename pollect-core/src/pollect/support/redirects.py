"""Where HTTP redirects may lead: anywhere, or to the hosts that someone allows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Allows: TypeAlias = Callable[[str], bool]

_allows: ContextVar[Allows | None] = ContextVar("pollect_redirects", default=None)


@contextmanager
def redirects_only_to(allows: Allows) -> Iterator[None]:
    """Bind the HTTP clients that this thread makes meanwhile.

    `allows` is called with the host that a redirect names, and says whether it may be asked.
    """
    token = _allows.set(allows)
    try:
        yield
    finally:
        _allows.reset(token)


def allowed_redirects() -> Allows | None:
    """Return what decides on redirects in this thread, None if they may lead anywhere."""
    return _allows.get()
