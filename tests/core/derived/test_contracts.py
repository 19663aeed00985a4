"""What a source says of its metrics is code of a plugin, for rules and dashboards too."""

from collections.abc import Callable
from typing import Any

import pytest

from pollect.api import Metric
from pollect.derived.contracts import contracts_of
from pollect.engine.plan import SourcePlan
from tests.core.engine.rig import scripted


def leave() -> Any:
    raise SystemExit(1)


@pytest.mark.parametrize("answer", [leave, lambda: 5, lambda: ["text"], lambda: iter([None])])
def test_expected_metrics_that_fail_leave_the_declared_ones(
    answer: Callable[[], Any], caplog
) -> None:
    source: Any = scripted()
    source.expected_metrics = answer
    found = contracts_of(SourcePlan(source=source, interval=10.0))
    assert [contract.metric.name for contract in found] == ["value"]
    assert "expected_metrics() failed" in caplog.text


def test_expected_metrics_take_the_place_of_the_declared_ones() -> None:
    source: Any = scripted()
    source.expected_metrics = lambda: iter([Metric("a"), Metric("b")])
    found = contracts_of(SourcePlan(source=source, interval=10.0))
    assert [contract.metric.name for contract in found] == ["a", "b"]
