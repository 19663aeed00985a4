import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pollect.api import BadResponse, MissingDependency, NoData, Roots, TargetUnavailable
from pollect.testing import build_source
from pollect.testing.clock import FakeClock
from pollect.testing.waiting import wait_until
from pollect_sources_system.zfs.payload import (
    parse_activity,
    parse_arc,
    parse_ctime,
    parse_datasets,
    parse_status,
)
from pollect_sources_system.zfs.source import ZfsSource
from tests.sources_system.readings import Readings, read
from tests.sources_system.stand_in import put_first_in_path, write_program

#: `zpool iostat` prints each line of the file `iostat` once, also those that are added later, and
#: ends when the file is gone; everything else prints the file of its name.
STAND_IN = """
import os, time
folder = os.environ["ZPOOL_FOLDER"]
with open(os.path.join(folder, "calls"), "a") as calls:
    print(*arguments, file=calls)
file = os.path.join(folder, arguments[0])
if arguments[0] != "iostat":
    text = open(file).read()
    print(text, end="")
    sys.exit(1 if text.startswith("no pools") else 0)
with open(file) as lines:
    while os.path.exists(file):
        if line := lines.readline():
            print(line, end="", flush=True)
        else:
            time.sleep(0.005)
sys.exit("cannot open: it was taken away")
"""

TANK = "tank\t1000\t400\t600\t12\t40\t1.50\tONLINE\n"
POND = "pond\t2000\t100\t1900\t3%\t5%\t1.00x\tDEGRADED\n"

STATUS = """  pool: tank
 state: ONLINE
  scan: scrub repaired 0B in 00:00:01 with 0 errors on Sun Nov  8 00:24:02 2026
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        ONLINE       1     2     3
\t  sda       ONLINE       1     2     3

errors: No known data errors

  pool: pond
 state: ONLINE
config:

\tNAME        STATE     READ WRITE CKSUM
\tpond        DEGRADED     0     0 12345

errors: No known data errors
"""


class FakePools:
    """The pools of a host that the stand-in shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.iostat = folder / "iostat"
        self.iostat.touch()

    def show(self, command: str, text: str) -> None:
        (self.folder / command).write_text(text)

    def report(self, text: str) -> None:
        """Let `zpool iostat` print more lines."""
        with self.iostat.open("a") as file:
            file.write(text)

    def open(self, **section: Any) -> ZfsSource:
        source = build_source(
            section, ZfsSource, clock=self.clock, roots=Roots(proc=self.folder / "proc")
        )
        source.open()
        return source  # type: ignore[return-value]

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def watchers(self) -> list[psutil.Process]:
        """The running `zpool iostat`."""
        return [
            process
            for process in psutil.Process().children()
            if process.status() != psutil.STATUS_ZOMBIE and "iostat" in process.cmdline()
        ]


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePools:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("zpool", "zfs"):
        write_program(folder, name, STAND_IN)
    monkeypatch.setenv("PATH", put_first_in_path(folder))
    monkeypatch.setenv("ZPOOL_FOLDER", str(tmp_path))
    return FakePools(tmp_path)


def await_activity(source: ZfsSource, *names: str) -> Readings:
    """Probe until the pools have rates."""
    found: list[Readings] = []

    def all_there() -> bool:
        found.append(read(source))
        return all(("operations_per_sec", name, "read") in found[-1] for name in names)

    wait_until(all_there)
    return found[-1]


def test_space_and_health_are_there_from_the_first_probe_on(pools: FakePools) -> None:
    pools.show("list", TANK + POND)
    source = pools.open()
    found = read(source)
    source.close()
    assert found["capacity", "tank", "used"] == 400
    assert found["capacity", "tank", "free"] == 600
    assert found["size", "pond"] == 2000
    assert found["fragmentation_percent", "pond"] == 3
    assert found["dedup_ratio", "tank"] == 1.5
    assert found["health", "pond", "DEGRADED"] == 1
    assert found["health", "pond", "ONLINE"] == 0
    assert pools.calls[0] == (
        "list -Hp -o name,size,allocated,free,fragmentation,capacity,dedupratio,health"
    )


def test_activity_is_averaged_per_pool_since_the_last_probe(pools: FakePools) -> None:
    pools.show("list", TANK + POND)
    pools.report("tank\t400\t600\t100\t10\t1000\t100\npond\t1\t2\t10\t1\t50\t5\n")
    pools.report("tank\t400\t600\t200\t30\t3000\t300\n")
    source = pools.open()
    read(source)
    iostat = source._iostat
    wait_until(lambda: "tank" in iostat._series and iostat._series["tank"].count == 2)
    found = read(source)
    source.close()
    assert found["operations_per_sec", "tank", "read"] == 150
    assert found["operations_per_sec", "tank", "write"] == 20
    assert found["bandwidth_per_sec", "tank", "read"] == 2000
    assert found["bandwidth_per_sec", "tank", "write"] == 200
    assert found["operations_per_sec", "pond", "read"] == 10
    assert found["bandwidth_per_sec", "pond", "write"] == 5


def test_last_averages_are_repeated_until_they_are_too_old(pools: FakePools) -> None:
    pools.show("list", TANK)
    pools.report("tank\t400\t600\t100\t10\t1000\t100\n")
    source = pools.open(interval=10)
    first = await_activity(source, "tank")
    pools.clock.advance(30)
    assert read(source) == first
    pools.clock.advance(1)
    assert ("operations_per_sec", "tank", "read") not in read(source)
    source.close()


def test_unknown_figures_are_left_out(pools: FakePools) -> None:
    pools.show("list", "tank\t1000\t400\t600\t-\t40\t-\tONLINE\n")
    source = pools.open()
    found = read(source)
    source.close()
    assert not {"fragmentation_percent", "dedup_ratio"} & {key[0] for key in found}


def test_pool_that_appears_is_watched_too(pools: FakePools) -> None:
    pools.show("list", TANK)
    source = pools.open()
    read(source)
    wait_until(lambda: "iostat -Hpy 10" in pools.calls)
    pools.show("list", TANK + POND)
    read(source)
    pools.report("tank\t1\t1\t1\t1\t1\t1\npond\t2\t2\t2\t2\t2\t2\n")
    found = await_activity(source, "tank", "pond")
    assert found["bandwidth_per_sec", "pond", "read"] == 2
    assert len(pools.watchers) == 1
    assert pools.calls.count("iostat -Hpy 10") == 2
    source.close()


def test_host_without_pools_has_no_data_and_runs_nothing(pools: FakePools) -> None:
    pools.show("list", TANK)
    source = pools.open()
    read(source)
    wait_until(lambda: len(pools.watchers) == 1)
    for nothing in ("no pools available\n", ""):
        pools.show("list", nothing)
        with pytest.raises(NoData, match="no pools") as caught:
            read(source)
        assert caught.value.withdraw
        assert pools.watchers == []
    source.close()


@pytest.mark.parametrize("line", ["tank\t1\t1\t1\t1\t1\t1\n", "rubbish\n", "x" * 100_000 + "\n"])
def test_process_that_prints_without_end_is_killed(
    pools: FakePools, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    pools.show("list", TANK)
    pools.report(line * (200_000 if len(line) < 100 else 5_000))
    source = pools.open()
    read(source)
    wait_until(lambda: any("prints without end, killed" in text for text in caplog.messages))
    source.close()


def test_no_background_process_is_left_behind(pools: FakePools) -> None:
    pools.show("list", TANK)
    source = pools.open()
    source.close()
    read(source)
    wait_until(lambda: len(pools.watchers) == 1)
    source.close()
    source.close()
    assert pools.watchers == []
    assert not [thread for thread in threading.enumerate() if "Zfs" in thread.name]


def test_process_that_dies_is_started_again_and_told_once(
    pools: FakePools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pools.show("list", TANK)
    source = pools.open()
    read(source)
    wait_until(lambda: "iostat -Hpy 10" in pools.calls)
    pools.watchers[0].kill()
    wait_until(lambda: "trying again" in caplog.text)
    pools.clock.advance(1)
    wait_until(lambda: pools.calls.count("iostat -Hpy 10") == 2)
    pools.report("tank\t1\t1\t1\t1\t1\t1\n")
    await_activity(source, "tank")
    source.close()
    assert caplog.messages == [
        "zpool iostat ended: no message; trying again",
        "works again",
    ]


def test_only_wanted_pools_are_reported(pools: FakePools) -> None:
    pools.show("list", TANK + POND)
    source = pools.open(pools=["po*"])
    found = read(source)
    source.close()
    assert {key[1] for key in found} == {"pond"}


def test_cache_is_reported_on_request(pools: FakePools, recorded_proc: Path) -> None:
    pools.show("list", TANK)
    source = build_source({"arc": True}, ZfsSource, roots=Roots(proc=recorded_proc))
    source.open()
    found = read(source)
    source.close()
    counters = parse_arc((recorded_proc / "spl/kstat/zfs/arcstats").read_text())
    assert found["arc_hits",] == counters["hits"] == 8772612
    assert found["arc_misses",] == 604635
    assert found["arc_size",] == 1603939792
    assert found["arc_max",] == 8367976448


def test_datasets_are_reported_on_request(pools: FakePools) -> None:
    listed = "tank\tfilesystem\t10\t20\t30\t40\ntank/vm\tvolume\t1\t2\t3\t-\npond\tfilesystem\t1\t1\t1\t0\n"  # noqa: E501
    pools.show("list", listed)
    zfs = pools.open(datasets=["tank*"])
    found = {
        (sample.metric.name, *sample.label_values): sample.value for sample in zfs._read_datasets()
    }
    zfs.close()
    assert found["dataset_used", "tank", "filesystem"] == 10
    assert found["dataset_quota", "tank", "filesystem"] == 40
    assert found["dataset_referenced", "tank/vm", "volume"] == 3
    assert ("dataset_quota", "tank/vm", "volume") not in found
    assert ("dataset_used", "pond", "filesystem") not in found


def test_errors_and_scrubs_are_reported_on_request(pools: FakePools) -> None:
    pools.show("list", TANK + POND)
    pools.show("status", STATUS)
    source = pools.open(scrub=True)
    found = read(source)
    source.close()
    assert found["errors", "tank", "read"] == 1
    assert found["errors", "pond", "cksum"] == 12345
    scrubbed = time.mktime((2026, 11, 8, 0, 24, 2, 0, 0, -1))
    assert found["last_scrub", "tank"] == scrubbed
    assert ("last_scrub", "pond") not in found


def test_part_that_fails_takes_nothing_else_away(
    pools: FakePools, caplog: pytest.LogCaptureFixture
) -> None:
    pools.show("list", TANK)
    pools.show("status", "  pool: tank\nrubbish\n")
    source = pools.open(scrub=True, arc=True)
    for _ in range(2):
        assert read(source)["size", "tank"] == 1000
    source.close()
    assert sorted(message.partition(":")[0] for message in caplog.messages) == [
        "cache",
        "status of pools",
    ]


@pytest.mark.parametrize(
    ("cell", "errors"), [("0", 0), ("12345", 12345), ("1.20K", 1229), ("3M", 3 * 1024**2)]
)
def test_errors_are_read_in_full_and_shortened(cell: str, errors: float) -> None:
    """Versions before 2.0 have no exact numbers here: what they shorten is not 0."""
    status = f"  pool: a\n state: ONLINE\nconfig:\n\n\tNAME\n\ta  ONLINE  0  0  {cell}\n"
    (found,) = parse_status(status).items
    assert found.checksum == errors


def test_errors_that_are_no_number_are_named_and_never_0() -> None:
    status = "  pool: a\n state: ONLINE\nconfig:\n\n\tNAME\n\ta  ONLINE  0  0  many\n"
    found = parse_status(status)
    assert (found.items, found.problems) == (
        [],
        ["pool a: expected a number of errors, got 'many'"],
    )
    assert parse_status(status.replace("many", "9" * 5000)).items == []


def test_pool_with_a_blank_in_its_name_has_errors_and_a_scrub(pools: FakePools) -> None:
    pools.show("list", TANK + TANK.replace("tank", "Main Pool"))
    tank = STATUS.partition("  pool: pond")[0]
    pools.show("status", tank + tank.replace("tank", "Main Pool"))
    source = pools.open(scrub=True)
    found = read(source)
    source.close()
    assert found["size", "Main Pool"] == 1000
    assert found["errors", "Main Pool", "write"] == 2
    assert found["last_scrub", "Main Pool"] == found["last_scrub", "tank"]


def test_row_that_makes_no_sense_costs_no_other(pools: FakePools) -> None:
    pools.show("list", f"warning: odd\n{TANK}")
    status = STATUS.replace("pond        DEGRADED     0     0 12345", "pond  who knows")
    pools.show("status", status.replace("Sun Nov  8 00:24:02 2026", "some day"))
    source = pools.open(scrub=True)
    found = read(source)
    source.close()
    assert found["size", "tank"] == 1000
    assert found["errors", "tank", "read"] == 1
    assert ("last_scrub", "tank") not in found
    assert source.troubles.texts() == (
        "pools: expected 8 columns, got 'warning: odd'",
        "status of pools: pool tank: expected the time of a scrub, got 'some day'; "
        "expected the errors of pool pond, got "
        r"'state: ONLINE\nconfig:\n\n\tNAME STATE READ WRITE CKSUM\n\tpond who knows\n'",
    )


def test_dataset_row_that_makes_no_sense_costs_no_other() -> None:
    rows = "tank\tfilesystem\t1\t2\t3\t-\nodd\ntank/my data\tfilesystem\t4\t5\t6\t7\n"
    datasets, problems = parse_datasets(rows)
    assert [(dataset.name, dataset.used) for dataset in datasets] == [
        ("tank", 1),
        ("tank/my data", 4),
    ]
    assert problems == ["expected 6 columns, got 'odd'"]


def test_nothing_but_rubbish_is_a_bad_response(pools: FakePools) -> None:
    pools.show("list", "tank\t1\n")
    source = pools.open()
    with pytest.raises(BadResponse, match="expected 8 columns"):
        read(source)


def test_module_that_is_not_loaded_is_told(pools: FakePools) -> None:
    write_program(
        pools.folder / "bin",
        "zpool",
        "sys.exit('The ZFS modules are not loaded.\\nTry running modprobe zfs')",
    )
    source = pools.open()
    with pytest.raises(TargetUnavailable, match="exit status 1: The ZFS modules are not loaded"):
        read(source)


def test_missing_program_is_told_with_its_package() -> None:
    source = build_source({"command": "no-such-zpool"}, ZfsSource)
    with pytest.raises(MissingDependency, match="apt install zfsutils-linux"):
        source.open()


def test_lines_with_unknown_fields_name_their_pool_only() -> None:
    assert parse_activity("tank\t1\t2\t-\t-\t-\t-\n") == ("tank", None)


@pytest.mark.parametrize(
    "parse",
    [
        lambda: parse_activity("cannot open\n"),
        lambda: parse_ctime("yesterday"),
    ],
)
def test_rubbish_is_a_bad_response(parse) -> None:
    with pytest.raises(BadResponse, match="expected"):
        parse()
