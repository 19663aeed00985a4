"""What is common to the promises of sources and writers."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar
from unittest import SkipTest


class Case(Protocol):
    """One plugin under test."""

    @property
    def exempt(self) -> Mapping[str, str]: ...


CaseT = TypeVar("CaseT", bound=Case)


def exemptible(*promises: Callable[[CaseT], None]) -> tuple[Callable[[CaseT], None], ...]:
    """Return promises that skip, with its reason, a case that is exempt from them."""
    return tuple(_exemptible(promise) for promise in promises)


def _exemptible(promise: Callable[[CaseT], None]) -> Callable[[CaseT], None]:
    @functools.wraps(promise)
    def check(case: CaseT) -> None:
        reason = case.exempt.get(promise.__name__)
        if reason:
            raise SkipTest(reason)
        promise(case)

    return check
