import shutil
from pathlib import Path

import pytest

from pollect.api import BadResponse, MissingDependency, NoData, Roots, TargetUnavailable
from pollect.testing import build_source
from pollect_sources_system.sensors.payload import (
    QUANTITIES,
    Feature,
    find_value,
    parse_sensors,
    scale_as_text,
)
from pollect_sources_system.sensors.source import SensorsSource
from tests.sources_system.node_exporter import run_node_exporter
from tests.sources_system.readings import Readings, read
from tests.sources_system.stand_in import put_first_in_path, write_program

BOARD = """{
   "nct6798-isa-0290":{
      "Adapter": "ISA adapter",
      "in5":{
         "in5_input": 0.856,
         "in5_min": 0.000,
         "in5_max": 1.744,
         "in5_alarm": 0.000
      },
      "CPU Fan":{
         "fan2_input": 1869.000,
         "fan2_alarm": 1.000
      },
      "Broken":{
         "temp3_input": -62.000,
         "temp3_fault": 1.000
      },
      "SMBUSMASTER 0":{
         "temp7_input": 34.500,
         "temp7_crit": 100.000
      },
      "intrusion0":{
         "intrusion0_alarm": 1.000
      },
      "beep_enable":{
         "beep_enable": 0.000
      },
      "cpu0_vid":{
         "cpu0_vid": 1.225
      }
   },
   "ucsi_source_psy_USBC000:001-isa-0000":{
      "Adapter": "ISA adapter",
      "curr1":{
         "curr1_input": 1.500
      },
      "power1":{
         "power1_average": 0.000004
      }
   }
}
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", put_first_in_path(folder))
    return folder


def answer(programs: Path, text: str, *, errors: str = "", status: int = 0) -> None:
    """Let `sensors -j` print this."""
    code = "sys.exit('expected -j') if arguments != ['-j'] else None\n"
    code += f"print({text!r}, end='')\nprint({errors!r}, end='', file=sys.stderr)\n"
    write_program(programs, "sensors", f"{code}sys.exit({status})")


def probe(**section: object) -> Readings:
    source = build_source(section, SensorsSource)
    source.open()
    return read(source)


def test_values_carry_chip_label_and_unit(programs: Path) -> None:
    answer(programs, BOARD)
    assert probe() == {
        (None, "nct6798-isa-0290", "in5", "V"): 0.856,
        (None, "nct6798-isa-0290", "cpu_fan", "RPM"): 1869.0,
        (None, "nct6798-isa-0290", "smbusmaster_0", "°C"): 34.5,
        (None, "nct6798-isa-0290", "cpu0_vid", "V"): 1.225,
        (None, "ucsi_source_psy_usbc000:001-isa-0000", "curr1", "A"): 1.5,
        (None, "ucsi_source_psy_usbc000:001-isa-0000", "power1", "W"): 0.000004,
    }


def test_units_can_be_those_of_the_text_output(programs: Path) -> None:
    answer(programs, BOARD)
    found = probe(useBaseUnits=False)
    assert found[None, "nct6798-isa-0290", "in5", "mV"] == 856.0
    assert found[None, "ucsi_source_psy_usbc000:001-isa-0000", "power1", "uW"] == 4.0
    assert found[None, "nct6798-isa-0290", "smbusmaster_0", "°C"] == 34.5


@pytest.mark.parametrize(
    ("value", "kind", "scaled"),
    [
        (0.0, "in", (0.0, "V")),
        (1.0, "in", (1000.0, "mV")),
        (1.001, "in", (1.0, "V")),
        (-12.0, "in", (-12.0, "V")),
        (0.0000005, "curr", (500.0, "nA")),
        (1500.0, "power", (1.5, "kW")),
        (3_600_000.0, "energy", (3.6, "MJ")),
        (5e9, "energy", (5.0, "GJ")),
        (41.26, "temp", (41.3, "°C")),
        (1869.4, "fan", (1869.0, "RPM")),
        (45.67, "humidity", (45.7, "%RH")),
    ],
)
def test_scaling_is_that_of_the_text_output(
    value: float, kind: str, scaled: tuple[float, str]
) -> None:
    assert scale_as_text(value, QUANTITIES[kind]) == scaled


def test_limits_and_alarms_are_reported_on_request(programs: Path) -> None:
    answer(programs, BOARD)
    chip = "nct6798-isa-0290"
    found = probe(limits=True, alarms=True)
    assert found["max", chip, "in5", "V"] == 1.744
    assert found["min", chip, "in5", "V"] == 0.0
    assert found["crit", chip, "smbusmaster_0", "°C"] == 100.0
    assert found["alarm", chip, "in5"] == 0
    assert found["alarm", chip, "cpu_fan"] == 1
    assert found["alarm", chip, "intrusion0"] == 1


def test_chips_and_sensors_can_be_left_out(programs: Path) -> None:
    answer(programs, BOARD)
    assert {chip for _, chip, *_ in probe(include=["NCT6798-isa-0290"])} == {"nct6798-isa-0290"}
    assert {chip for _, chip, *_ in probe(exclude=["nct*"])} == {
        "ucsi_source_psy_usbc000:001-isa-0000"
    }
    assert not any("in5" in key for key in probe(excludeNames=["in*"]))


@pytest.mark.parametrize(
    ("kind", "members", "value"),
    [
        ("power", {"power1_input": 2.0, "power1_average": 3.0}, (2.0, "W")),
        ("power", {"power1_average": 3.0}, (3.0, "W")),
        ("energy", {"energy1_input": 3.0}, (3.0, "J")),
        ("humidity", {"humidity1_input": 45.0}, (45.0, "%RH")),
        ("freq", {"freq1_input": 2.2e9}, (2.2e9, "Hz")),
        ("temp", {"temp1_max": 3.0}, None),
        ("fan", {"fan1_input": 0.0, "fan1_fault": 1.0}, None),
        ("none", {}, None),
    ],
)
def test_value_of_a_feature_is_found_by_its_kind(kind, members, value) -> None:
    found = find_value(Feature("chip", kind, members))
    assert (found and (found[0], found[1].unit)) == value


@pytest.mark.parametrize(
    "broken",
    [
        BOARD.replace('"fan2_alarm": 1.000', '"fan2_alarm": nan'),
        BOARD.replace('"fan2_alarm": 1.000', '"fan2_alarm": -nan'),
        BOARD.replace('"fan2_alarm": 1.000', '"fan2_alarm": N/A'),
        BOARD.replace('"fan2_alarm": 1.000', '"fan2_alarm": 1.000,'),
        BOARD.replace('"fan2_alarm": 1.000', "ERROR: Can't get value"),
        BOARD.replace('"fan2_alarm": 1.000\n', '"fan2_alarm": 1.000\n  %%%\n'),
        BOARD.replace(
            '   "ucsi', '   "empty-isa-0000":{\n      "Adapter": "ISA",\n   },\n   "ucsi'
        ),
        BOARD[:-3],
    ],
)
def test_one_bad_line_costs_no_other_chip(programs: Path, broken: str) -> None:
    assert broken != BOARD
    answer(programs, BOARD)
    whole = probe()
    answer(programs, broken)
    assert probe() == whole


@pytest.mark.parametrize(
    ("line", "troubles"),
    [
        ('"fan2_alarm": nan', ()),  # what the program prints while it cannot be read
        ('"fan2_alarm": null', ()),
        (
            '"fan2_alarm": "high"',
            ("nct6798-isa-0290: CPU Fan: fan2_alarm: expected a number, got 'high'",),
        ),
        ("%%%", ("cannot make sense of the line '%%%'",)),
    ],
)
def test_what_cannot_be_read_is_a_trouble(
    programs: Path, line: str, troubles: tuple[str, ...]
) -> None:
    answer(programs, BOARD.replace('"fan2_alarm": 1.000', line))
    source = build_source({}, SensorsSource)
    source.open()
    read(source)
    assert source.troubles.texts() == tuple(f"sensors: {text}" for text in troubles)


def test_errors_of_the_program_do_not_spoil_its_output(programs: Path) -> None:
    answer(programs, BOARD, errors="ERROR: Can't get value of subfeature temp1_input: I/O error\n")
    assert len(probe()) == 6


def test_sensors_of_one_label_are_told_apart(programs: Path) -> None:
    answer(
        programs,
        """{"a-isa-0000":{
   "Processor Fan":{"fan1_input":1000.0,"fan1_alarm":1.0},
   "Processor Fan":{"fan2_input":2000.0,"fan2_alarm":0.0},
   "processor_fan":{"fan3_input":3000.0},
   "Processor Fan":{"temp1_input":40.0,"temp1_alarm":1.0}}}""",
    )
    found = probe(alarms=True)
    assert found == {
        (None, "a-isa-0000", "processor_fan", "RPM"): 1000.0,
        (None, "a-isa-0000", "processor_fan_fan2", "RPM"): 2000.0,
        (None, "a-isa-0000", "processor_fan_fan3", "RPM"): 3000.0,
        (None, "a-isa-0000", "processor_fan", "°C"): 40.0,
        ("alarm", "a-isa-0000", "processor_fan"): 1.0,
        ("alarm", "a-isa-0000", "processor_fan_fan2"): 0.0,
        ("alarm", "a-isa-0000", "processor_fan_temp1"): 1.0,
    }
    assert probe(excludeNames="processor_fan*") == {}
    assert len(probe(excludeNames="processor_fan_fan2")) == 3


def test_faulty_sensor_does_not_leave_its_name_to_the_next(programs: Path) -> None:
    answer(
        programs,
        '{"a-isa-0000":{"Fan":{"fan1_input":0.0,"fan1_fault":1.0},"Fan":{"fan2_input":2.0}}}',
    )
    assert probe() == {(None, "a-isa-0000", "fan_fan2", "RPM"): 2.0}


@pytest.mark.parametrize("garbage", ["", "   %%%\n"])
def test_chips_of_one_name_are_told_apart(programs: Path, garbage: str) -> None:
    chip = '   "acpitz-virtual-0":{\n      "temp1":{\n         "temp1_input": %s\n      }\n   }'
    answer(programs, f"{{\n{chip % '1.0'},\n{garbage}{chip % '2.0'}\n}}\n")
    assert probe() == {
        (None, "acpitz-virtual-0", "temp1", "°C"): 1.0,
        (None, "acpitz-virtual-0_2", "temp1", "°C"): 2.0,
    }


@pytest.mark.parametrize("garbage", ["", "   %%%\n"])
def test_a_chip_keeps_a_name_that_looks_like_the_second_of_another(
    programs: Path, garbage: str
) -> None:
    chip = '   "%s":{\n      "temp1":{\n         "temp1_input": %s\n      }\n   }'
    chips = ",\n".join(chip % each for each in (("a", "1.0"), ("a", "2.0"), ("a_2", "3.0")))
    answer(programs, f"{{\n{garbage}{chips}\n}}\n")
    assert {chip: value for (_, chip, *_), value in probe().items()} == {
        "a": 1.0,
        "a_3": 2.0,
        "a_2": 3.0,
    }


def test_chip_that_is_no_object_costs_only_itself(programs: Path) -> None:
    answer(programs, '{"a":null,"b":[1],"c":{"x":7,"temp1":{"temp1_input":1.0}}}')
    assert probe() == {(None, "c", "temp1", "°C"): 1.0}


def test_host_without_sensors_has_no_data_and_says_so_once(
    programs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer(programs, "{\n\n}\n", errors="No sensors found!\n", status=1)
    source = build_source({}, SensorsSource)
    source.open()
    for _ in range(2):
        with pytest.raises(NoData, match="no sensors found"):
            read(source)
    assert len(caplog.messages) == 1


@pytest.mark.integration
def test_real_program_is_understood() -> None:
    if shutil.which("sensors") is None:
        pytest.skip("sensors is not installed (make services)")
    try:
        found = probe()
    except NoData:
        return  # as on virtual machines
    assert found


def test_version_that_does_not_know_json_is_told(programs: Path) -> None:
    answer(programs, "", errors="sensors: invalid option -- 'j'\n", status=1)
    with pytest.raises(TargetUnavailable, match="exit status 1: sensors: invalid option"):
        probe()


def test_program_that_hangs_is_killed_before_the_deadline(programs: Path) -> None:
    write_program(programs, "sensors", "import time; time.sleep(60)")
    with pytest.raises(TargetUnavailable, match=r"sensors: no answer within 0\.45 s, killed"):
        probe(timeout=0.5)


@pytest.mark.parametrize("text", ["", "coretemp-isa-0000\nCore 0: +40.0°C\n", "[1]"])
def test_rubbish_is_a_bad_response(text: str) -> None:
    with pytest.raises(BadResponse, match="expected the JSON of `sensors -j`"):
        parse_sensors(text, [])


def write_hwmon(sys: Path, number: int, device: str, bus: str, files: dict[str, str]) -> None:
    """Let the kernel show one chip: its device `<bus>/<name>` and its files."""
    folder = sys / "class" / "hwmon" / f"hwmon{number}"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    if device:
        place = sys / "devices" / device
        place.mkdir(parents=True, exist_ok=True)
        (folder / "device").symlink_to(place)
        (sys / "bus" / bus).mkdir(parents=True, exist_ok=True)
        (place / "subsystem").symlink_to(sys / "bus" / bus)


@pytest.fixture
def fake_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with monitors and without the program."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    sys = tmp_path / "sys"
    core = {"name": "coretemp", "temp2_input": "41000", "temp2_label": "Core 0"}
    write_hwmon(sys, 0, "coretemp.0", "platform", core)
    board = {
        "name": "nct6798",
        "in5_input": "856",
        "in5_max": "1744",
        "in5_alarm": "1",
        "fan2_input": "1869",
        "temp10_input": "34500",
        "temp10_fault": "0",
        "temp9_input": "-62000",
        "temp9_fault": "1",
        "power1_average": "12500000",
        "pwm1": "255",
    }
    write_hwmon(sys, 1, "nct6775.656", "platform", board)
    write_hwmon(sys, 2, "", "", {"name": "acpitz", "temp1_input": "27800"})
    disk = {"name": "nvme", "temp1_input": "38850", "temp1_label": "Composite"}
    write_hwmon(sys, 3, "nvme0", "nvme", disk)
    pci = sys / "devices" / "0000:04:00.0"
    pci.mkdir()
    (sys / "bus" / "pci").mkdir()
    (pci / "subsystem").symlink_to(sys / "bus" / "pci")
    (sys / "devices" / "nvme0" / "device").symlink_to(pci)
    write_hwmon(sys, 4, "0:0:0:0", "scsi", {"name": "drivetemp", "temp1_input": "30000"})
    write_hwmon(sys, 5, "1-004c", "i2c", {"name": "lm75", "temp1_input": "25500"})
    return sys


def probe_kernel(sys: Path, **section: object) -> Readings:
    source = build_source(section, SensorsSource, roots=Roots(sys=sys))
    source.open()
    return read(source)


def test_without_the_program_the_kernel_is_read_under_the_same_names(fake_sys: Path) -> None:
    assert probe_kernel(fake_sys) == {
        (None, "coretemp-isa-0000", "core_0", "°C"): 41.0,
        (None, "nct6798-isa-0290", "in5", "V"): 0.856,
        (None, "nct6798-isa-0290", "fan2", "RPM"): 1869.0,
        (None, "nct6798-isa-0290", "temp10", "°C"): 34.5,
        (None, "nct6798-isa-0290", "power1", "W"): 12.5,
        (None, "acpitz-virtual-0", "temp1", "°C"): 27.8,
        (None, "nvme-pci-0400", "composite", "°C"): 38.85,
        (None, "drivetemp-scsi-0-0", "temp1", "°C"): 30.0,
        (None, "lm75-i2c-1-4c", "temp1", "°C"): 25.5,
    }


def test_host_around_a_container_is_read_in_its_own_place(
    fake_sys: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", put_first_in_path(programs))
    answer(programs, '{"container-isa-0000":{"temp1":{"temp1_input":1.0}}}')
    assert (None, "acpitz-virtual-0", "temp1", "°C") in probe_kernel(fake_sys)


def test_chips_of_one_name_are_told_apart_in_the_kernel_too(fake_sys: Path) -> None:
    write_hwmon(fake_sys, 10, "", "", {"name": "acpitz", "temp1_input": "99000"})
    found = probe_kernel(fake_sys)
    assert found[None, "acpitz-virtual-0", "temp1", "°C"] == 27.8
    assert found[None, "acpitz-virtual-0_2", "temp1", "°C"] == 99.0


def test_limits_and_alarms_are_read_from_the_kernel_too(fake_sys: Path) -> None:
    found = probe_kernel(fake_sys, limits=True, alarms=True)
    assert found["max", "nct6798-isa-0290", "in5", "V"] == 1.744
    assert found["alarm", "nct6798-isa-0290", "in5"] == 1


@pytest.mark.integration
def test_kernel_readings_agree_with_node_exporter(fake_sys: Path, monkeypatch) -> None:
    found = probe_kernel(fake_sys)
    monkeypatch.undo()
    with run_node_exporter(
        f"--path.sysfs={fake_sys}", "--collector.disable-defaults", "--collector.hwmon"
    ) as exporter:
        theirs = exporter.scrape()
    celsius = sorted(
        value
        for (name, labels), value in theirs.items()
        if name == "node_hwmon_temp_celsius" and dict(labels)["sensor"] != "temp9"
    )
    ours = sorted(value for (_, _, _, unit), value in found.items() if unit == "°C")
    assert ours == celsius
    fan = next(value for (name, _), value in theirs.items() if name == "node_hwmon_fan_rpm")
    assert found[None, "nct6798-isa-0290", "fan2", "RPM"] == fan


def test_host_with_neither_program_nor_monitors_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    source = build_source({}, SensorsSource, roots=Roots(sys=tmp_path))
    with pytest.raises(MissingDependency, match="apt install lm-sensors"):
        source.open()
