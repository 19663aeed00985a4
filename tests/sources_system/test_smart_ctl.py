import json
import time
from pathlib import Path
from typing import Any

import pytest

from pollect.api import BadResponse, MissingDependency, NoData, TargetUnavailable
from pollect.plugin import Roots
from pollect.testing import FakeClock, build_source
from pollect_sources_system.smart_ctl.payload import parse_raw_value, parse_report
from pollect_sources_system.smart_ctl.source import SmartCtlSource
from tests.sources_system.readings import read
from tests.sources_system.stand_in import put_first_in_path, write_program

#: Prints the file that belongs to the device, its last argument, with the status in it; appends
#: its arguments to the file `calls`.
STAND_IN = """
import json, os
folder = os.environ["SMARTCTL_FOLDER"]
with open(os.path.join(folder, "calls"), "a") as calls:
    print(*arguments, file=calls)
name = "scan" if "--scan" in arguments else os.path.basename(arguments[-1])
if "-d" in arguments:
    name = arguments[arguments.index("-d") + 1]
try:
    text = open(os.path.join(folder, name + ".json")).read()
except FileNotFoundError:
    print("smartctl: no such device", file=sys.stderr)
    sys.exit(2)
if text == "hangs":
    import time
    time.sleep(60)
print(text)
sys.exit(json.loads(text)["smartctl"].get("exit_status", 0) if text.startswith("{") else 0)
"""


class FakeDrives:
    """Devices in a folder, and the stand-in that answers for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dev = folder / "dev"
        self.dev.mkdir()

    def add(self, name: str, answer: "dict | str") -> None:
        (self.dev / name).touch()
        self.answer(name, answer)

    def answer(self, name: str, answer: "dict | str") -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self.folder / f"{name}.json").write_text(text)

    def remove(self, name: str) -> None:
        (self.dev / name).unlink()

    def open(self, **section: object) -> SmartCtlSource:
        source = build_source(section, SmartCtlSource, roots=Roots(dev=self.dev))
        source.open()
        return source  # type: ignore[return-value]

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDrives:
    programs = tmp_path / "bin"
    programs.mkdir()
    write_program(programs, "smartctl", STAND_IN)
    monkeypatch.setenv("PATH", put_first_in_path(programs))
    monkeypatch.setenv("SMARTCTL_FOLDER", str(tmp_path))
    return FakeDrives(tmp_path)


def ata(*entries: tuple[str, str]) -> dict[str, Any]:
    """Build what smartctl prints for an ATA drive: attributes with their raw strings."""
    table = [
        {
            "id": index,
            "name": name,
            "value": 90,
            "worst": 80,
            "thresh": 10,
            "raw": {"value": 689111072, "string": raw},
        }
        for index, (name, raw) in enumerate(entries)
    ]
    return {
        "smartctl": {"exit_status": 0},
        "smart_status": {"passed": True},
        "ata_smart_attributes": {"table": table},
    }


ASLEEP = {
    "smartctl": {
        "exit_status": 0,
        "messages": [{"string": "Device is in STANDBY mode, exit(0)", "severity": "information"}],
    }
}
BROKEN = {
    "smartctl": {
        "exit_status": 2,
        "messages": [{"string": "Smartctl open device: failed", "severity": "error"}],
    }
}


def test_every_recorded_drive_is_read_whatever_its_exit_status(
    drives: FakeDrives, recorded_smart: Path
) -> None:
    recordings = sorted(recorded_smart.glob("*.json"))
    for recording in recordings:
        drives.add(recording.stem, recording.read_text())
    found = read(drives.open(devices=[".*"], normalized=True, info=True))
    for recording in recordings:
        dev = recording.stem
        document = json.loads(recording.read_text())
        assert found["exit_status", dev] == document["smartctl"]["exit_status"]
        assert found["standby", dev] == 0
        assert found["passed", dev] == document["smart_status"]["passed"]
        assert found["temperature", dev] == document["temperature"]["current"]
        for entry in document.get("ata_smart_attributes", {}).get("table", ()):
            assert (None, entry["name"], dev) in found
            assert ("worst", entry["name"], dev) in found
        table = document.get("ata_smart_attributes", {}).get("table", ())
        seen: set[str] = set()
        for entry in table:
            name = entry["name"] if entry["name"] not in seen else f"{entry['name']}_{entry['id']}"
            seen.add(entry["name"])
            if entry["raw"]["string"].isdigit():
                assert found[None, name, dev] == int(entry["raw"]["string"])
        for key, value in document.get("nvme_smart_health_information_log", {}).items():
            if isinstance(value, int):
                assert found[None, key, dev] == value
            else:
                for index, item in enumerate(value):
                    assert found[None, f"{key}_{index}", dev] == item
        for operation, counters in document.get("scsi_error_counter_log", {}).items():
            for name, value in counters.items():
                assert found[None, f"scsi_{operation}_{name}", dev] == float(value)
        if "scsi_grown_defect_list" in document:
            assert (None, "scsi_grown_defect_list", dev) in found


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("27", 27),
        ("32 (Min/Max 19/41)", 32),
        ("36 (0 18 0 0 0)", 36),
        ("28 (Average 30)", 28),
        ("25 (Min/Max 20/40 #3)", 25),
        ("0/6", 0),
        ("7/6", 7),
        ("0 0 12", 0),
        ("37054h+12m+08.635s", 37054),
        ("1234h+05m", 1234),
        ("34.5", 34.5),
        ("-4", -4),
        ("0x0000000000a1", 161),
        ("0x00000000000000ff", 255),
        ("unknown", 689111072),
        ("", 689111072),
    ],
)
def test_raw_string_counts_by_its_first_number(raw: str, value: float) -> None:
    assert parse_raw_value({"value": 90, "raw": {"string": raw, "value": 689111072}}) == value


def test_attribute_without_a_raw_value_counts_by_its_rating() -> None:
    assert parse_raw_value({"value": 90, "raw": {"string": "-"}}) == 90


def test_number_beyond_53_bits_is_taken_from_its_digits() -> None:
    log = {
        "data_units_read": 9007199254740993,
        "data_units_read_s": "9007199254740993",
        "host_reads": 2**70,
        "host_reads_s": str(2**70),
        "host_reads_le": [0, 0, 0, 0, 0, 0, 0, 0, 64],
        "controllers": 3,
    }
    report = parse_report(json.dumps({"smartctl": {}, "nvme_smart_health_information_log": log}))
    assert {name: value for name, (value, _) in report.attributes.items()} == {
        "data_units_read": 9007199254740993,
        "host_reads": 2**70,
        "controllers": 3,
    }


def test_only_wanted_attributes_are_reported(drives: FakeDrives) -> None:
    drives.add("sda", ata(("Power_On_Hours", "1h+1m+1.0s"), ("Temperature_Celsius", "32 (x)")))
    log = {"temperature": 30, "temperature_sensors": [31, 32]}
    drives.add("nvme0", {"smartctl": {"exit_status": 0}, "nvme_smart_health_information_log": log})
    wanted = ["Temperature_Celsius", "temperature_sensors"]
    found = read(drives.open(devices=["sd", "nv"], attributes=wanted))
    assert {key[1:] for key in found if key[0] is None} == {
        ("Temperature_Celsius", "sda"),
        ("temperature_sensors_0", "nvme0"),
        ("temperature_sensors_1", "nvme0"),
    }


def test_attributes_of_one_name_are_told_apart_by_their_id(drives: FakeDrives) -> None:
    names = ("Program_Fail_Count", "Unknown_Attribute", "Program_Fail_Count", "Unknown_Attribute")
    drives.add("sda", ata(*((name, str(10 + index)) for index, name in enumerate(names))))
    found = read(drives.open(devices=["sda"], normalized=True))
    assert {key[1]: value for key, value in found.items() if key[0] is None} == {
        "Program_Fail_Count": 10,
        "Unknown_Attribute": 11,
        "Program_Fail_Count_2": 12,
        "Unknown_Attribute_3": 13,
    }
    assert found["worst", "Unknown_Attribute_3", "sda"] == 80
    wanted = read(drives.open(devices=["sda"], attributes=["Program_Fail_Count"]))
    assert {key[1] for key in wanted if key[0] is None} == {
        "Program_Fail_Count",
        "Program_Fail_Count_2",
    }


def test_drives_of_one_number_behind_two_controllers_are_told_apart(drives: FakeDrives) -> None:
    drives.answer("megaraid,0", ata(("A", "1")))
    entries = ["/dev/bus/0 -d megaraid,0", "/dev/bus/1 -d megaraid,0"]
    found = read(drives.open(devices=entries))
    assert {key[-1] for key in found} == {"megaraid,0", "megaraid,0_bus/1"}


@pytest.mark.parametrize(
    ("member", "broken", "trouble"),
    [
        ("temperature", None, None),
        ("temperature", {"current": None}, None),
        ("temperature", {"current": "warm"}, "temperature: expected a number, got 'warm'"),
        ("temperature", [40], "temperature: expected an object, got [40]"),
        ("temperature", {"current": "nan"}, "temperature: expected a number, got 'nan'"),
        ("power_cycle_count", "1_000", "power_cycle_count: expected a number, got '1_000'"),
        ("power_cycle_count", "9" * 5000, f"power_cycle_count: expected a number, got '{'9' * 79}"),
        ("power_cycle_count", True, "power_cycle_count: expected a number, got True"),
        (
            "nvme_smart_health_information_log",
            {"media_errors": "none", "critical_warning": 0},
            "media_errors: expected a number, got 'none'",
        ),
        ("smart_status", None, None),
        ("smart_status", {"passed": "yes"}, "smart_status: expected true or false, got 'yes'"),
        ("power_on_time", None, None),
        ("power_cycle_count", "many", "power_cycle_count: expected a number, got 'many'"),
        ("nvme_smart_health_information_log", None, None),
        ("scsi_error_counter_log", {"read": None}, None),
        ("scsi_error_counter_log", None, None),
        ("smartctl", {"exit_status": 0, "messages": None}, None),
        ("smartctl", {"exit_status": None, "messages": ["x"]}, None),
    ],
)
def test_unreadable_member_costs_only_itself(
    drives: FakeDrives, member: str, broken: object, trouble: str | None
) -> None:
    drives.add("sda", ata(("A", "1")))
    drives.add("sdb", {**ata(("A", "2")), member: broken})
    source = drives.open(devices=["sd"])
    found = read(source)
    assert (found[None, "A", "sda"], found[None, "A", "sdb"]) == (1, 2)
    assert str(source.troubles) == (f"sdb (values): {trouble}" if trouble else "")


@pytest.mark.parametrize("entry", [{"value": 9}, None, "text", {"name": None}])
def test_attribute_without_a_name_costs_only_itself(drives: FakeDrives, entry: object) -> None:
    answer = ata(("A", "1"))
    answer["ata_smart_attributes"]["table"].insert(0, entry)
    drives.add("sda", answer)
    source = drives.open(devices=["sda"])
    assert read(source)[None, "A", "sda"] == 1
    assert str(source.troubles).startswith("sda (values): attribute 1: expected a name, got ")
    drives.answer("sda", ata(("A", "1")))
    read(source)
    assert not source.troubles


def test_attribute_with_nothing_but_a_number_is_an_unknown_one(drives: FakeDrives) -> None:
    answer = ata(("A", "1"), ("B", "2"))
    del answer["ata_smart_attributes"]["table"][1]["name"]
    answer["ata_smart_attributes"]["table"][0]["raw"] = None
    drives.add("sda", answer)
    found = read(drives.open(devices=["sda"]))
    assert (found[None, "A", "sda"], found[None, "Unknown_Attribute", "sda"]) == (90, 2)


@pytest.mark.parametrize(
    "shape",
    [
        "Pending defect count:0 Pending Defects\n{}",
        "smartctl: a warning {of sorts}\n{not JSON\n{}",
        "{}\nmore text",
        "\n {}",
    ],
)
def test_text_around_the_json_is_passed_over(drives: FakeDrives, shape: str) -> None:
    document = json.dumps(ata(("A", "1")), indent=2)
    drives.add("sda", shape.replace("{}", document))
    assert read(drives.open(devices=["sda"]))[None, "A", "sda"] == 1


def test_scanned_device_without_a_name_costs_only_itself(drives: FakeDrives) -> None:
    devices = [{"type": "scsi"}, None, {"name": "/dev/sda", "type": None}]
    drives.answer("scan", {"smartctl": {"exit_status": 0}, "devices": devices})
    drives.answer("sda", ata(("A", "1")))
    assert read(drives.open())[None, "A", "sda"] == 1


def test_failing_drive_leaves_the_others_and_is_told_once(
    drives: FakeDrives, caplog: pytest.LogCaptureFixture
) -> None:
    drives.add("sda", BROKEN)
    drives.add("sdb", ata(("A", "1")))
    drives.add("sdc", "Segmentation fault")
    drives.add("sdd", "")
    source = drives.open(devices=["sd[a-z]$"])
    for _ in range(2):
        assert {key[-1] for key in read(source)} == {"sdb"}
    assert len(caplog.messages) == 3
    assert caplog.messages[0] == "sda: smartctl: Smartctl open device: failed"
    drives.answer("sda", ata(("A", "1")))
    assert {key[-1] for key in read(source)} == {"sda", "sdb"}
    assert caplog.messages[-1] == "sda: works again"


class RealTime(FakeClock):
    def monotonic(self) -> float:
        return time.monotonic()


def test_hanging_drive_is_killed_and_asked_last_the_next_time(drives: FakeDrives) -> None:
    drives.add("sda", "hangs")
    drives.add("sdb", ata(("A", "1")))
    section = {"devices": ["sd"], "timeout": 2}
    roots = Roots(dev=drives.dev)
    source = build_source(section, SmartCtlSource, roots=roots, clock=RealTime())
    with pytest.raises(TargetUnavailable, match=r"sda: .*no answer within .* s, killed"):
        read(source)  # it took all the time there was
    assert {key[-1] for key in read(source)} == {"sdb"}


def test_nothing_but_failing_drives_is_a_failure(drives: FakeDrives) -> None:
    drives.add("sda", BROKEN)
    with pytest.raises(TargetUnavailable, match="sda: smartctl: Smartctl open device: failed"):
        read(drives.open(devices=["sda"]))


def test_sleeping_drive_keeps_its_last_values_and_says_so(drives: FakeDrives) -> None:
    drives.add("sda", ata(("Power_On_Hours", "100")))
    source = drives.open(devices=["sda"])
    awake = read(source)
    drives.answer("sda", ASLEEP)
    asleep = read(source)
    assert awake.pop(("standby", "sda")) == 0
    assert asleep.pop(("standby", "sda")) == 1
    assert asleep == awake
    assert drives.calls[0] == f"-n standby,0 --json -a {drives.dev}/sda"


def test_drive_that_sleeps_from_the_start_only_says_so(drives: FakeDrives) -> None:
    drives.add("sda", {"smartctl": {"exit_status": 0}})
    assert read(drives.open(devices=["sda"])) == {("standby", "sda"): 1.0}


def test_drives_can_be_read_whether_they_sleep_or_not(drives: FakeDrives) -> None:
    drives.add("sda", ata(("A", "1")))
    read(drives.open(devices=["sda"], nocheck="never"))
    assert drives.calls == [f"--json -a {drives.dev}/sda"]


def test_drives_come_and_go(drives: FakeDrives) -> None:
    drives.add("sda", ata(("A", "1")))
    source = drives.open(devices=["sd[a-z]$"])
    seen = [{key[-1] for key in read(source)}]
    drives.add("sdb", ata(("A", "1")))
    drives.add("sdb1", ata(("A", "1")))
    seen.append({key[-1] for key in read(source)})
    drives.remove("sda")
    seen.append({key[-1] for key in read(source)})
    drives.remove("sdb")
    with pytest.raises(NoData) as caught:
        read(source)
    assert caught.value.withdraw
    assert seen == [{"sda"}, {"sda", "sdb"}, {"sdb"}]


def test_without_devices_smartctl_is_asked_for_them(drives: FakeDrives) -> None:
    devices = [
        {"name": "/dev/sda", "type": "scsi", "protocol": "SCSI"},
        {"name": "/dev/bus/0", "type": "megaraid,7", "protocol": "SCSI"},
    ]
    drives.answer("scan", {"smartctl": {"exit_status": 0}, "devices": devices})
    drives.answer("sda", ata(("A", "1")))
    drives.answer("megaraid,7", ata(("A", "2")))
    found = read(drives.open())
    assert found[None, "A", "sda"] == 1
    assert found[None, "A", "megaraid,7"] == 2
    assert drives.calls == [
        "--scan --json",
        "-n standby,0 --json -a /dev/sda",
        "-n standby,0 --json -a -d megaraid,7 /dev/bus/0",
    ]


def test_drives_behind_a_controller_are_named_by_their_type(drives: FakeDrives) -> None:
    for number in range(2):
        drives.answer(f"megaraid,{number}", ata(("A", str(number))))
    entries = ["/dev/bus/0 -d megaraid,0", "/dev/bus/0 -d megaraid,1"]
    found = read(drives.open(devices=entries))
    assert found[None, "A", "megaraid,0"] == 0
    assert found[None, "A", "megaraid,1"] == 1


def test_type_of_a_drive_can_be_given(drives: FakeDrives) -> None:
    drives.add("sda", ata(("A", "1")))
    drives.answer("sat", ata(("A", "2")))
    assert read(drives.open(devices=["sda"], types={"sda": "sat"}))[None, "A", "sda"] == 2


def test_model_and_serial_number_are_reported_on_request(drives: FakeDrives) -> None:
    facts = {"model_name": "X1", "serial_number": "S2", "firmware_version": "F3"}
    drives.add("sda", {**ata(("A", "1")), **facts})
    assert read(drives.open(devices=["sda"], info=True))["info", "sda", "X1", "S2", "F3"] == 1
    ratings = read(drives.open(devices=["sda"], normalized=True))
    assert ratings["normalized", "A", "sda"] == 90
    assert ratings["worst", "A", "sda"] == 80
    assert ratings["threshold", "A", "sda"] == 10


def test_pattern_that_is_invalid_costs_itself_only(drives: FakeDrives) -> None:
    drives.add("sda", ata(("A", "1")))
    source = drives.open(devices=["sda", "sd[a-z}+$"])
    (warning,) = source.config_warnings
    assert warning.key == "devices[1]"
    assert warning.problem.startswith("'sd[a-z}+$' is not a regular expression: ")
    assert warning.hint == "write for example `sd[a-z]$`"
    assert read(source)[None, "A", "sda"] == 1
    assert source.troubles.texts() == (str(warning),)


def test_invalid_patterns_alone_never_lead_to_other_drives(drives: FakeDrives) -> None:
    drives.answer("scan", {"smartctl": {"exit_status": 0}, "devices": [{"name": "/dev/sda"}]})
    drives.add("sda", ata(("A", "1")))
    source = drives.open(devices=["sd[a-z}+$", "(nvme"])
    with pytest.raises(TargetUnavailable) as caught:
        source.probe()
    assert str(caught.value) == "; ".join(map(str, source.config_warnings))


def test_missing_program_is_told_with_its_package() -> None:
    source = build_source({"command": "no-such-smartctl"}, SmartCtlSource)
    with pytest.raises(MissingDependency, match="apt install smartmontools"):
        source.open()


@pytest.mark.parametrize("text", ["", "smartctl 6.6", "[]", "{}"])
def test_rubbish_is_a_bad_response(text: str) -> None:
    with pytest.raises(BadResponse, match="expected the JSON of smartctl"):
        parse_report(text)


@pytest.mark.integration
def test_real_program_is_understood() -> None:
    """A device that is not a drive is reported in the words of the program."""
    source = build_source({"devices": ["null$"], "nocheck": "never"}, SmartCtlSource)
    try:
        source.open()
    except MissingDependency:
        pytest.skip("smartctl is not installed (make services)")
    with pytest.raises(TargetUnavailable, match=r"null: smartctl: .*(device|Unable)"):
        read(source)


def test_attribute_without_a_number_is_named_and_rated_by_nothing(drives: FakeDrives) -> None:
    answer = ata(("Good", "1"), ("Odd", "?"), ("Unrated", "3"))
    table = answer["ata_smart_attributes"]["table"]
    table[1]["raw"]["value"] = table[1]["value"] = None
    table[2]["worst"] = "bad"
    drives.add("sda", answer)
    source = drives.open(devices=["sd"], normalized=True)
    found = read(source)
    assert (found[None, "Good", "sda"], found[None, "Unrated", "sda"]) == (1, 3)
    assert (None, "Odd", "sda") not in found
    assert "attribute Odd: expected a number, got" in str(source.troubles)
    rated = {labels[0] for name, *labels in found if name == "normalized"}
    assert rated == {"Good"}, "0 would be the worst rating there is"
