"""The event loop of asynchronous sources, as their executor uses it."""

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from pollect.engine.loop import MOST_REASONS, EventLoopThread

LIMIT_SECONDS = 30.0


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    thread = EventLoopThread()
    yield thread
    thread.stop(LIMIT_SECONDS)


def test_all_that_is_started_together_runs(loop: EventLoopThread) -> None:
    left, ended = set(range(100)), threading.Event()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        left.discard(number)
        if not left:
            ended.set()

    loop.start([(number, partial(work, number)) for number in range(100)])
    assert ended.wait(LIMIT_SECONDS)


def test_cancel_ends_one_and_lets_the_others_go_on(loop: EventLoopThread) -> None:
    began, cancelled, ended = threading.Event(), threading.Event(), threading.Event()
    go_on = asyncio.Event()

    async def hang() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def wait() -> None:
        await go_on.wait()
        ended.set()

    loop.start([("hangs", hang), ("waits", wait)])
    assert began.wait(LIMIT_SECONDS), "one that is cancelled before does nothing at all"
    loop.cancel("hangs")
    loop.cancel("hangs")
    assert cancelled.wait(LIMIT_SECONDS)
    assert not ended.is_set()
    loop.start([("wakes", lambda: _set(go_on))])
    assert ended.wait(LIMIT_SECONDS)


def test_what_comes_after_the_end_is_refused_and_cancels_nothing() -> None:
    loop = EventLoopThread()
    loop.stop(LIMIT_SECONDS)
    loop.cancel("ended")
    with pytest.raises(RuntimeError, match="closed"):
        loop.start([("late", lambda: _set(asyncio.Event()))])


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_a_callback_that_raises_system_exit_ends_nothing_and_is_logged_once(
    loop: EventLoopThread, caplog
) -> None:
    _raise_in_callbacks(loop, ["3", "3", "3"])
    assert _failed_callbacks(caplog) == [
        "a callback on the event loop failed (logged once): SystemExit: 3"
    ]


def test_callbacks_that_fail_for_reasons_of_all_kinds_do_not_flood_the_log(
    loop: EventLoopThread, caplog
) -> None:
    _raise_in_callbacks(loop, [f"reason {number}" for number in range(MOST_REASONS + 20)])
    assert len(_failed_callbacks(caplog)) == MOST_REASONS


def _raise_in_callbacks(loop: EventLoopThread, reasons: list[str]) -> None:
    def leave(reason: str) -> None:
        raise SystemExit(reason)

    for number, reason in enumerate(reasons):
        ended = threading.Event()

        async def work(reason: str = reason, ended: threading.Event = ended) -> None:
            asyncio.get_running_loop().call_soon(leave, reason)
            asyncio.get_running_loop().call_later(0.001, ended.set)

        loop.start([(number, work)])
        assert ended.wait(LIMIT_SECONDS)


def _failed_callbacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if "callback" in each]
