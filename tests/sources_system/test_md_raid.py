from pathlib import Path

import pytest

from pollect.api import BadResponse, NoData, Roots
from pollect.testing import build_source
from pollect_sources_system.md_raid import MdRaidSource
from tests.sources_system.node_exporter import run_node_exporter
from tests.sources_system.readings import Readings, read


def probe(proc: Path) -> Readings:
    return read(build_source({}, MdRaidSource, roots=Roots(proc=proc)))


def test_degraded_arrays_are_told_from_whole_ones(recorded_proc: Path) -> None:
    found = probe(recorded_proc)
    degraded = {array for (name, array, *_), value in found.items() if name == "degraded" and value}
    # md219 is inactive too, but only holds the metadata of other arrays.
    assert degraded == {"md4", "md6", "md7"}


def test_progress_is_reported_while_there_is_some(recorded_proc: Path) -> None:
    found = probe(recorded_proc)
    progress = {array: value for (name, array, *_), value in found.items() if name == "sync_ratio"}
    assert progress == {
        "md6": 16775552 / 195310144,
        "md8": 16775552 / 195310144,
        "md201": 114176 / 1993728,
    }
    assert found["state", "md9", "resync"] == 1.0, "it waits, but is to be synchronised"


@pytest.mark.integration
def test_recorded_machine_agrees_with_node_exporter(recorded_proc: Path) -> None:
    found = probe(recorded_proc)
    with run_node_exporter(f"--path.procfs={recorded_proc}") as exporter:
        theirs = exporter.scrape()
    states = {"active": "active", "inactive": "inactive", "check": "check", "resync": "resync"}
    states["recovering"] = "recovery"
    compared = 0
    for (name, labels), value in theirs.items():
        array = dict(labels).get("device", "")
        state = dict(labels).get("state", "")
        if name == "node_md_disks":
            assert found["disks", array, state] == value, array
        elif name == "node_md_state":
            assert found["state", array, states[state]] == value, (array, state)
        elif name == "node_md_disks_required" and found["state", array, "inactive"] == 0:
            assert found["disks_required", array] == value, array
        elif name == "node_md_blocks":
            assert found["size_bytes", array] == value * 1024, array
        else:
            continue
        compared += 1
    assert compared > 100


def test_host_without_raid_has_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="no software RAID"):
        probe(tmp_path)


def test_host_without_arrays_reports_nothing(tmp_path: Path) -> None:
    (tmp_path / "mdstat").write_text("Personalities : \nunused devices: <none>\n")
    assert probe(tmp_path) == {}


def test_an_array_in_a_state_of_another_name_is_degraded_and_named(tmp_path: Path) -> None:
    """Newer kernels call an array without redundancy that lost a disk broken."""
    (tmp_path / "mdstat").write_text(
        "Personalities : [raid0] [raid1]\n"
        "md0 : broken raid0 sda1[0] sdb1[1]\n      200 blocks super 1.2 512k chunks\n\n"
        "md1 : active raid1 sdc1[0] sdd1[1]\n      100 blocks [2/2] [UU]\n\n"
        "unused devices: <none>\n"
    )
    source = build_source({}, MdRaidSource, roots=Roots(proc=tmp_path))
    found = read(source)
    assert (found["degraded", "md0"], found["degraded", "md1"]) == (1, 0)
    assert [found["state", "md0", state] for state in ("active", "inactive")] == [0, 0]
    assert str(source.troubles) == "md0: broken, 2 of 2 disks"


def test_numbers_without_end_cost_only_their_array(tmp_path: Path) -> None:
    huge = "9" * 5000
    (tmp_path / "mdstat").write_text(
        f"md0 : active raid1 sda1[0] sdb1[1]\n      {huge} blocks [2/2] [UU]\n\n"
        f"md1 : active raid1 sdc1[0] sdd1[1]\n      100 blocks [{huge}/2] [UU]\n"
    )
    source = build_source({}, MdRaidSource, roots=Roots(proc=tmp_path))
    assert read(source)["size_bytes", "md1"] == 100 * 1024
    assert "md0: expected the blocks of md0" in str(source.troubles)


BROKEN = "md0 : active raid1 sda1[0]\n      who knows\n"


def test_array_without_a_size_costs_no_other(tmp_path: Path) -> None:
    whole = "md1 : active raid1 sdb1[0] sdc1[1]\n      1000 blocks [2/2] [UU]\n"
    (tmp_path / "mdstat").write_text(f"{BROKEN}\n{whole}")
    source = build_source({}, MdRaidSource, roots=Roots(proc=tmp_path))
    found = read(source)
    assert {array for _, array, *_ in found} == {"md1"}
    assert source.troubles.texts() == ("md0: expected the blocks of md0, got ' who knows'",)


def test_array_of_no_blocks_and_a_name_beyond_ascii_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "mdstat").write_bytes(
        b"md_caf\xe9 : active raid1 sda1[0] sdb1[1]\n      0 blocks [2/2] [UU]\n"
        b"      [>....]  resync =  0.0% (0/0) finish=0.0min\n\n"
        b"md1 : active raid1 sda2[0] sdb2[1]\n      7 blocks [2/2] [UU]\n"
    )
    found = probe(tmp_path)
    assert found["size_bytes", "md1"] == 7 * 1024
    assert found["state", "md_caf\udce9", "resync"] == 1
    assert ("sync_ratio", "md_caf\udce9") not in found


def test_mdstat_without_a_single_readable_array_is_a_bad_response(tmp_path: Path) -> None:
    (tmp_path / "mdstat").write_text(BROKEN)
    with pytest.raises(BadResponse, match="expected the blocks of md0"):
        probe(tmp_path)


def test_degraded_arrays_are_troubles_until_they_are_whole(tmp_path: Path) -> None:
    source = build_source({}, MdRaidSource, roots=Roots(proc=tmp_path))
    array = "md1 : active raid1 sdb1[0]\n      1000 blocks [2/{}] [U_]\n"
    (tmp_path / "mdstat").write_text(array.format(1))
    assert read(source)["degraded", "md1"] == 1
    assert source.troubles.texts() == ("md1: degraded, 1 of 2 disks",)
    (tmp_path / "mdstat").write_text(array.format(2))
    assert read(source)["degraded", "md1"] == 0
    assert not source.troubles
