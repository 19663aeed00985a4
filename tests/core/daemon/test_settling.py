"""What a start made is left out of collections once it has settled, and again after a reload."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from pollect.daemon.settling import SETTLE_SECONDS, Settling, collector_paused


def few() -> int:
    """Count the series of six sources."""
    return 60


class Node:
    """Part of a circle that only the garbage collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Begin with nothing frozen, and leave the other tests as they were: `tests/conftest.py`."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def test_nothing_is_frozen_before_a_start_has_settled() -> None:
    settling = Settling()
    settling.changed(100.0)
    before = gc.get_freeze_count()
    assert settling.settle(100.0 + SETTLE_SECONDS - 1, few) == pytest.approx(1.0)
    assert gc.get_freeze_count() == before


def test_nothing_is_frozen_while_nothing_was_made() -> None:
    before = gc.get_freeze_count()
    assert Settling().settle(100.0, few) is None
    assert gc.get_freeze_count() == before


def test_what_lasts_is_left_out_of_collections() -> None:
    settling = Settling()
    settling.changed(100.0)
    assert settling.settle(100.0 + SETTLE_SECONDS, few) is None
    assert gc.get_freeze_count() > 1000


def test_garbage_of_the_start_is_freed_and_not_kept() -> None:
    garbage = weakref.ref(Node())
    settling = Settling()
    settling.changed(0.0)
    settling.settle(SETTLE_SECONDS, few)
    assert garbage() is None


def test_the_samples_of_a_round_are_not_searched_for_garbage_while_they_are_needed() -> None:
    usual = gc.get_threshold()
    settling = Settling()
    settling.changed(0.0)
    settling.settle(SETTLE_SECONDS, lambda: 20_000)
    assert gc.get_threshold() == (20_000, *usual[1:])
    settling.changed(100.0)
    settling.settle(100.0 + SETTLE_SECONDS, few)
    assert gc.get_threshold() == usual


def test_what_a_reload_left_is_freed_when_it_has_settled() -> None:
    node = Node()
    settling = Settling()
    settling.changed(0.0)
    settling.settle(SETTLE_SECONDS, few)
    old = weakref.ref(node)
    del node
    gc.collect()
    assert old() is not None
    settling.changed(100.0)
    settling.settle(100.0 + SETTLE_SECONDS, few)
    assert old() is None


def test_nothing_is_searched_while_the_collector_is_paused() -> None:
    searches: list[str] = []

    def note(phase: str, details: object) -> None:
        searches.append(phase)

    gc.callbacks.append(note)
    try:
        with collector_paused():
            circles = [Node() for _ in range(10 * gc.get_threshold()[0])]
            while_paused = list(searches)
    finally:
        gc.callbacks.remove(note)
    assert len(circles) > 1000
    assert while_paused == []


def test_collector_goes_on_after_a_pause_that_failed() -> None:
    with pytest.raises(ValueError, match="config"), collector_paused():
        raise ValueError("config")
    assert gc.isenabled()


def test_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
