"""Do the same with several targets side by side."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from pollect.support.connect import ROOM_SECONDS

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def side_by_side(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], parallel: int
) -> list[ResultT]:
    """Return `function(item)` of every item in order, at most `parallel` of them at a time.

    An error of any of them is raised when all have ended. The threads are daemons: one that hangs
    in a name look-up does not keep the process from ending.
    """
    if len(items) == 1:
        return [function(items[0])]
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(items)):
        todo.put(index)
    results: dict[int, ResultT] = {}
    errors: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            try:
                results[index] = function(items[index])
            except BaseException as error:  # noqa: BLE001 - raised again by the caller below
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(parallel, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]


def longest_seconds(count: int, parallel: int, timeout: float) -> float:
    """Return what `count` items may take at most that have `timeout` seconds each.

    `parallel` of them go at a time; there is room at the end to report what came of it.
    """
    rounds = -(-count // parallel)
    return rounds * timeout + ROOM_SECONDS
