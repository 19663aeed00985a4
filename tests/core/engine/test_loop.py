"""The event loop of asynchronous sources, as their executor uses it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from pollect.engine.guarded_loop import MOST_REASONS
from pollect.engine.loop import EventLoopThread
from pollect.errors import TargetUnavailable
from pollect.testing.waiting import wait_until

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


def test_a_traceback_is_logged_once_for_each_place(
    loop: EventLoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    _raise_in_callbacks(loop, ["first", "second"])
    records = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.exc_info is not None for record in records] == [True, False]


def test_an_exception_handler_that_fails_does_not_flood_the_log(
    loop: EventLoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("handler")

    async def work() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(fail)
        for _ in range(20):
            running.call_soon(fail)
        await asyncio.sleep(0)

    loop.submit(work).result(LIMIT_SECONDS)
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["a callback on the event loop failed (logged once): ValueError: handler"]


def test_a_task_factory_that_fails_keeps_nothing_from_running(loop: EventLoopThread) -> None:
    async def spoil() -> None:
        asyncio.get_running_loop().set_task_factory(lambda *_: 1 / 0)  # type: ignore[arg-type]

    loop.submit(spoil).result(LIMIT_SECONDS)
    loop.submit(lambda: asyncio.sleep(0)).result(LIMIT_SECONDS)


def test_what_is_cancelled_by_another_before_it_begins_is_reported_as_lost(
    loop: EventLoopThread,
) -> None:
    lost: SimpleQueue[tuple[object, str]] = SimpleQueue()

    async def cancel_all() -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    works = [("cancels", cancel_all), ("never begins", cancel_all)]
    loop.start(works, lambda key, error: lost.put((key, str(error))))
    expected = "a source of its type cancelled all tasks"
    assert {lost.get(timeout=LIMIT_SECONDS) for _ in works} == {
        ("cancels", expected),
        ("never begins", expected),
    }


def _close_selector() -> None:
    asyncio.get_running_loop()._selector.close()  # type: ignore[attr-defined]


def _pose_as_closed() -> None:
    asyncio.get_running_loop()._closed = True  # type: ignore[attr-defined]


def _close_sockets() -> None:
    running: Any = asyncio.get_running_loop()
    running._ssock.close()
    running._csock.close()


@pytest.mark.parametrize("spoil", [_close_selector, _pose_as_closed, _close_sockets])
def test_a_loop_that_a_source_broke_ends_and_loses_what_runs(
    spoil: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pollect.engine.guarded_loop.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("pollect.engine.loop.DEAF_SECONDS", 0.05)
    loop, spoilt = EventLoopThread(), threading.Event()

    async def work() -> None:
        spoil()
        spoilt.set()
        await asyncio.Event().wait()

    future = loop.submit(work)
    assert spoilt.wait(LIMIT_SECONDS)
    with suppress(RuntimeError):  # closed
        loop.start([("wakes", work)])
    with pytest.raises(TargetUnavailable, match="its event loop broke: "):
        future.result(LIMIT_SECONDS)
    loop.stop(LIMIT_SECONDS)
    with pytest.raises(RuntimeError, match="closed"):
        loop.submit(work)
    assert "the event loop broke and is replaced" in caplog.text


def test_a_task_that_swallows_its_cancellation_does_not_keep_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pollect.engine.loop.CANCEL_SECONDS", 0.05)
    loop, began = EventLoopThread(), threading.Event()

    async def stay() -> None:
        while True:
            began.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    loop.start([("stays", stay)])
    assert began.wait(LIMIT_SECONDS)
    loop.end()
    wait_until(lambda: loop.over)


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
