"""What becomes of a batch that was handed over: a receipt when it is settled, or a loss."""

from collections.abc import Callable
from typing import TypeAlias

from pollect.model import Batch

#: Called with the name of a writer, a batch that is lost to it, and why if an error is to blame.
LostCallback: TypeAlias = Callable[[str, Batch, BaseException | None], None]
#: Called once or more often when a batch needs no one else's care: it was delivered or given up on,
#: or a disk has it. Must be quick and take no lock that a buffer is used under.
Receipt: TypeAlias = Callable[[], None]


class BrokerReceipt:
    """The receipt of a batch that its broker keeps until the call, and brings again without it."""

    __slots__ = ("_settle", "is_kept")

    def __init__(self, settle: Callable[[], None], is_kept: Callable[[], bool]) -> None:
        self._settle = settle
        #: Whether the broker still has the batch. Takes no lock that a buffer is used under.
        self.is_kept = is_kept

    def __call__(self) -> None:
        self._settle()
