"""What is common to the promises of sources and writers."""

import functools
from collections.abc import Callable
from typing import TypeVar
from unittest import SkipTest

from pollect.testing.contract.case import Case
from pollect.testing.contract.classes import (
    check_described_options,
    check_light_import,
    check_unknown_option,
)

CaseT = TypeVar("CaseT", bound=Case)


def import_is_light(case: Case) -> None:
    """Importing the plugin needs nothing but the standard library, msgspec and pollect."""
    check_light_import(case.plugin)


def unknown_options_are_refused(case: Case) -> None:
    """A misspelt option is a mistake, reported with what was probably meant."""
    check_unknown_option(case.plugin.config_type, {"type": case.plugin.__name__, **case.section})


def options_are_described(case: Case) -> None:
    """Every option has a description; passwords and tokens are secrets."""
    check_described_options(case.plugin.config_type)


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
