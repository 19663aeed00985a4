from pathlib import Path

import pytest

from pollect.api import BadResponse, ConfigError, NoData, TargetUnavailable
from pollect.testing import build_source
from pollect.testing.programs import stand_in
from pollect_sources_system.systemd_unit import SystemdUnitSource
from tests.sources_system.readings import Readings, read

SHOWN = """Id=nginx.service
ActiveState=active
SubState=running
NRestarts=2
MemoryCurrent=12345678
CPUUsageNSec=2500000000
TasksCurrent=5

Id=backup.timer
ActiveState=active
SubState=waiting

Id=broken.service
ActiveState=failed
SubState=failed
NRestarts=5
MemoryCurrent=[not set]
CPUUsageNSec=18446744073709551615
TasksCurrent=[not set]
"""


def probe(**section: object) -> Readings:
    source = build_source(section, SystemdUnitSource)
    source.open()
    return read(source)


def test_units_are_asked_for_in_one_call() -> None:
    with stand_in("systemctl", stdout=SHOWN) as systemctl:
        probe(units=["nginx", "backup.timer", "broken*"])
        calls = systemctl.calls
    assert len(calls) == 1
    assert calls[0][0] == "show"
    assert calls[0][-4:] == ["--", "nginx", "backup.timer", "broken*"]


def test_state_restarts_memory_and_cpu_time_are_reported() -> None:
    with stand_in("systemctl", stdout=SHOWN):
        found = probe(units="*")
    assert found["active", "nginx.service"] == 1
    assert found["restarts_total", "nginx.service"] == 2
    assert found["memory_bytes", "nginx.service"] == 12345678
    assert found["cpu_seconds_total", "nginx.service"] == 2.5
    assert found["tasks", "nginx.service"] == 5
    assert found["active", "broken.service"] == 0
    assert found["state", "broken.service", "failed"] == 1
    assert found["state", "broken.service", "active"] == 0


def test_what_systemd_does_not_account_for_is_left_out() -> None:
    with stand_in("systemctl", stdout=SHOWN):
        found = probe(units="*")
    assert {name for name, unit, *_ in found if unit == "backup.timer"} == {"active", "state"}
    assert ("memory_bytes", "broken.service") not in found
    assert ("cpu_seconds_total", "broken.service") not in found


def test_pattern_that_finds_nothing_has_no_data() -> None:
    with stand_in("systemctl"), pytest.raises(NoData, match="no such unit"):
        probe(units="nothing*")


def test_host_without_systemd_is_told_in_its_words() -> None:
    said = "System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    with (
        stand_in("systemctl", stderr=said, exit_code=1),
        pytest.raises(TargetUnavailable, match="systemctl show: exit status 1: System has not"),
    ):
        probe(units="nginx")


def test_command_can_be_replaced(tmp_path: Path) -> None:
    with stand_in("other", stdout=SHOWN) as other:
        assert probe(units="nginx", command=f"{other.path} --user")
        assert other.calls[0][:2] == ["--user", "show"]


@pytest.mark.parametrize("units", [[], [""], ""])
def test_units_are_needed(units: object) -> None:
    with pytest.raises(ConfigError, match="expected the names of units"):
        build_source({"units": units}, SystemdUnitSource)


def test_nothing_but_rubbish_is_a_bad_response() -> None:
    source = build_source({"units": "*"}, SystemdUnitSource)
    source.open()
    with (
        stand_in("systemctl", stdout="hello\n"),
        pytest.raises(BadResponse, match="expected the properties of a unit"),
    ):
        read(source)


def test_unit_that_makes_no_sense_costs_only_itself() -> None:
    source = build_source({"units": "*"}, SystemdUnitSource)
    source.open()
    with stand_in("systemctl", stdout=f"Id=half.service\nNRestarts=1\n\n{SHOWN}"):
        assert read(source)["active", "nginx.service"] == 1
    assert "units: expected the properties of a unit, got 'Id=half.service" in str(source.troubles)
    with stand_in("systemctl", stdout=SHOWN):
        read(source)
    assert "units" not in source.troubles


def test_failed_units_are_troubles_until_they_run_or_are_gone() -> None:
    source = build_source({"units": "*"}, SystemdUnitSource)
    source.open()
    with stand_in("systemctl", stdout=SHOWN):
        read(source)
    assert source.troubles.texts() == ("broken.service: failed",)
    with stand_in("systemctl", stdout=SHOWN.replace("=failed", "=active")):
        read(source)
    assert not source.troubles
