"""Settings for all tests, and the authority that most of those with TLS trust."""

import gc
import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.simulators.certificates import Authority
from tests.spread import GROUPS, WORKERS, Spread, encodable, group_of

# How long an example takes depends on what else runs on the machine: a slow one is not a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Leave thousands of tests out of garbage collections: those that tests ask for took a second.

    What a test makes itself is collected as ever.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run all tests in several processes, and a part of them in this one."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    options = ("keyword", "markexpr", "lf", "stepwise", "deselect", "collectonly")
    return 0 if not everything or any(map(config.getoption, options)) else WORKERS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: group_of(item.nodeid) not in GROUPS)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    return Spread(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let a process report what it logged or printed even where that is not valid Unicode."""
    return encodable((yield))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail an integration test that skips where `CI` is set: all it needs must be there."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and item.get_closest_marker("integration") and in_ci():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"an integration test must not skip in CI: {reason}"
    return report


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")
