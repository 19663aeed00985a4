"""Every source and writer of every installed distribution keeps the contract."""

import pytest

from pollect.discovery.registry import Registry
from pollect.testing import SOURCE_PROMISES, WRITER_PROMISES
from pollect.testing.contract.sources import target_trickles
from tests.contract.cases import SOURCES, WRITERS


def promises_to_check(cases, promises):
    """Pair each case with the promises that mean something for it and that it can keep."""
    return [
        pytest.param(case, promise, id=f"{case.section['type']}-{promise.__name__}")
        for case in cases
        for promise in promises
        if case.at or not promise.__name__.startswith("target_")
        if promise.__name__ not in case.exempt
    ]


@pytest.mark.parametrize(
    ("case", "promise"), promises_to_check(SOURCES, (*SOURCE_PROMISES, target_trickles))
)
def test_source(case, promise) -> None:
    promise(case)


@pytest.mark.parametrize(("case", "promise"), promises_to_check(WRITERS, WRITER_PROMISES))
def test_writer(case, promise) -> None:
    promise(case)


@pytest.mark.parametrize("kind", ["source", "writer"])
def test_every_installed_type_has_a_case(kind: str) -> None:
    registry = Registry()
    installed, cases = (
        (registry.sources, SOURCES) if kind == "source" else (registry.writers, WRITERS)
    )
    ours = {name for name, entry in installed.items() if entry.distribution.startswith("pollect-")}
    assert ours == {case.section["type"] for case in cases}
