"""Units of `pollect unit`, in a system that was booted for them: what systemd makes of pollect."""

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from pollect.operate.unit import DYNAMIC_USERS
from tests.deploy import booted
from tests.deploy.booted_checks import EXCUSED
from tests.deploy.image import CACHE, held_cache

pytestmark = [pytest.mark.integration, pytest.mark.root, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """What the checks inside the booted system saw."""
    reason = booted.why_not()
    if reason:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Beside the tree and not below /tmp, where nspawn would hide it behind its own.
    folder = CACHE / f"boot-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        with held_cache():
            tree = booted.make_tree()
        yield booted.boot(tree, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def exposure(facts: dict[str, Any]) -> float:
    (figure,) = re.findall(r"exposure level for \S+: ([0-9.]+)", facts["security"][-1])
    return float(figure)


def test_install_enables_and_starts_it(found) -> None:
    assert "pollect.service runs" in found["install"]["output"]


def test_it_reports_ready_and_feeds_the_watchdog(found) -> None:
    notify = found["notify"]
    assert notify["up"], notify
    assert notify["state"] == "active"
    assert "7 sources" in notify["status"]
    assert int(notify["watchdog"]) > 0
    assert found["watchdog"] == {"fed": True, "again": True}


def test_it_runs_as_a_user_of_its_own_without_any_capability(found) -> None:
    user = found["user"]
    assert user["uid"] in DYNAMIC_USERS
    assert int(user["capabilities"], 16) == int(user["bounding"], 16) == 0
    assert (user["seccomp"], user["no_new_privileges"]) == ("2", "1")
    assert user["state"] == 0o700


def test_a_credential_reaches_the_config(found) -> None:
    assert found["credentials"] == {"without": 401, "with": True}


def test_reload_changes_the_sources_of_the_same_process(found) -> None:
    assert found["reload"] == {"said": "", "seen": True, "same_process": True}


def test_it_comes_back_after_it_was_killed(found) -> None:
    assert found["kill"] == {"again": True, "restarts": "1"}


def test_a_mistake_in_the_config_is_not_tried_again_and_again(found) -> None:
    assert found["mistake"] == {"failed": True, "status": "2", "mended": True}


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("privileged", {"box_SmartCtl_passed", "box_Ping_rtt_seconds"}),
        (
            "everything",
            {
                "box_SmartCtl_passed",
                "box_Ping_rtt_seconds",
                "box_PacketCounter_made",
                "box_Process_process_count",
                "box_DiskUsage",
                "box_TcpTime",
                "box_SystemdUnit_active",
            },
        ),
    ],
)
def test_sources_with_needs_collect_inside_their_sandbox(found, name: str, metrics) -> None:
    facts = found[name]
    assert found["prepare"]["as_root"] == "made", "the machine itself has no BPF"
    assert facts["up"], (facts["said"], facts["down"], facts["journal"])
    for kind in facts["down"]:
        assert f"[box/{kind}] down: " in facts["journal"]
        assert EXCUSED[kind] in facts["journal"]
    seen = facts["metrics"]
    assert {m for m in metrics if not any(name.startswith(m) for name in seen)} == set()


def test_the_system_bus_of_this_debian_turns_away_users_that_end_with_their_unit(found) -> None:
    """What `User=pollect` in the unit of SystemdUnit is for."""
    assert "Transport endpoint is not connected" in found["prepare"]["bus"]
    assert "useradd --system" in found["everything"]["said"]


@pytest.mark.parametrize(
    ("name", "most"), [("stop", 1.5), ("privileged", 2.0), ("everything", 2.6)]
)
def test_systemd_itself_calls_it_safe(found, name: str, most: float) -> None:
    print(f"{name}: exposure {exposure(found[name])}")
    assert exposure(found[name]) <= most


def test_stopping_ends_it_with_success(found) -> None:
    stop = found["stop"]
    assert (stop["result"], stop["status"], stop["state"]) == ("success", "0", "inactive")
