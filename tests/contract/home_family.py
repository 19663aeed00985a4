"""All home sources at once, each before the peer of its contract, for a daemon of its own."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.contract.home_cases import HOME_SOURCES
from tests.contract.home_push_cases import PUSH_SOURCES
from tests.simulators.zodiac import Zodiac

CASES = (*HOME_SOURCES, *PUSH_SOURCES)
TYPES = sorted(case.section["type"] for case in CASES)


@contextmanager
def family() -> Iterator[list[dict[str, Any]]]:
    """Start every peer, and give the sections of a config that lead to them."""
    with ExitStack() as stack:
        sections: list[dict[str, Any]] = []
        for case in CASES:
            options: Mapping[str, Any]
            if case.section["type"] == "ZodiacPool":
                # In the contract its clock stands still, and its tokens are of that time.
                options = stack.enter_context(Zodiac()).options
            else:
                options = stack.enter_context(case.working())
            sections.append({**case.section, **options})
        yield sections
