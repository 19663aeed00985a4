"""A running engine that is stopped at the end of the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import Plan


@pytest.fixture
def run() -> Iterator[Callable[..., Engine]]:
    """Return a function that starts an engine; stopped at the end of the test."""
    engines: list[Engine] = []

    def start(plan: Plan, *, clock: Any = None, hooks: Any = None) -> Engine:
        engine = Engine(plan, clock=clock or SystemClock(), hooks=hooks)
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        engine.stop()
