"""The kernel's hardware monitors, read where the program `sensors` is not installed.

`/sys/class/hwmon` (kernel documentation, hwmon/sysfs-interface) has the same chips, features and
members as lm-sensors, in thousandths and millionths instead of base units. Chips get the names
that libsensors gives them, so that the series go on when the program is installed later; what an
operator's `sensors.conf` relabels, scales or hides is the program's business alone.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pollect.support.distinct import Named, tell_apart
from pollect_sources_system.sensors.payload import QUANTITIES, Feature

#: What the kernel counts per base unit; 1 where it is not listed.
SCALES = {
    "temp": 1e3,
    "in": 1e3,
    "curr": 1e3,
    "humidity": 1e3,
    "cpu": 1e3,
    "power": 1e6,
    "energy": 1e6,
}
#: Parts that are switches, not amounts.
FLAGS = re.compile(r"alarm|fault|beep|enable|type")

_FILE = re.compile(r"(?P<feature>(?P<kind>[a-z]+)\d+)_(?P<part>\w+)")
_PCI = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)")
_I2C = re.compile(r"(\d+)-([0-9a-f]+)")
_SPI = re.compile(r"spi(\d+)\.(\d+)")
_HID = re.compile(r"([0-9A-F]+):[0-9A-F]+:[0-9A-F]+\.([0-9A-F]+)", re.IGNORECASE)
_SCSI = re.compile(r"(\d+):(\d+):(\d+):([0-9a-f]+)")
_PLATFORM = re.compile(r"[\w-]*\.(\d+)")
_MDIO = re.compile(r"[^:]*:(\d+)")


def read_hwmon(sys: Path, parts: Iterable[str]) -> list[Feature]:
    """Return the features of all chips with the given parts (`input`, `max`).

    What cannot be read is left out. Raises `OSError` when there is no list of chips.
    """
    wanted = frozenset(parts)
    found: list[tuple[Path, str]] = []
    folders = (sys / "class" / "hwmon").iterdir()
    for folder in sorted(folders, key=lambda folder: _natural_order(folder.name)):
        # Drivers of old kernels keep their files with the device.
        base = folder if (folder / "name").exists() else folder / "device"
        name = _read(base / "name")
        if name:
            found.append((base, name_chip(name, folder / "device")))
    # All chips without a bus have the address 0.
    chips = tell_apart(Named(chip) for _, chip in found)
    return [
        feature
        for chip, (base, _) in zip(chips, found, strict=True)
        for feature in _read_chip(base, chip, wanted)
    ]


def _read_chip(base: Path, chip: str, wanted: frozenset[str]) -> list[Feature]:
    members: dict[str, dict[str, float]] = {}
    kinds = QUANTITIES.keys() | {"intrusion"}
    try:
        files = sorted(os.listdir(base), key=_natural_order)
    except OSError:
        return []  # the chip was unplugged meanwhile
    for file in files:
        match = _FILE.fullmatch(file)
        if match is None or match["kind"] not in kinds:
            continue
        if match["part"] not in wanted and not ("alarm" in wanted and "alarm" in match["part"]):
            continue
        scale = 1.0 if FLAGS.search(match["part"]) else SCALES.get(match["kind"], 1.0)
        try:
            value = float(_read(base / file)) / scale
        except ValueError:
            continue  # a probe that is not connected answers with an error
        members.setdefault(match["feature"], {})[file] = value
    return [
        Feature(chip, _read(base / f"{feature}_label") or feature, numbers)
        for feature, numbers in members.items()
    ]


def name_chip(name: str, device: Path) -> str:
    """Return libsensors' name of a chip: `coretemp-isa-0000`, `nvme-pci-0400`.

    `device` is the link to the chip's device; what its bus says is looked for there and in the
    devices above it, as for a disk behind its controller.
    """
    while device.exists():
        path = device.resolve()
        subsystem = path / "subsystem"
        place = _format_place(subsystem.resolve().name if subsystem.exists() else "", path.name)
        if place:
            return f"{name}-{place}"
        device = path / "device"
    return f"{name}-virtual-0"


def _format_place(bus: str, device: str) -> str:
    """Return bus and address of a device as libsensors writes them; empty for other buses."""
    if bus == "pci" and (match := _PCI.fullmatch(device)):
        domain, number, slot, function = (int(part, 16) for part in match.groups())
        return f"pci-{(domain << 16) + (number << 8) + (slot << 3) + function:04x}"
    if bus == "i2c" and (match := _I2C.fullmatch(device)):
        return f"i2c-{match[1]}-{int(match[2], 16):02x}"
    if bus == "spi" and (match := _SPI.fullmatch(device)):
        return f"spi-{match[1]}-{int(match[2]):x}"
    if bus == "hid" and (match := _HID.fullmatch(device)):
        return f"hid-{int(match[1], 16)}-{int(match[2], 16):x}"
    if bus == "scsi" and (match := _SCSI.fullmatch(device)):
        host, channel, target = (int(part) for part in match.groups()[:3])
        return f"scsi-{host}-{(channel << 8) + (target << 4) + int(match[4], 16):x}"
    if bus in ("platform", "of_platform"):
        match = _PLATFORM.fullmatch(device)
        return f"isa-{int(match[1]) if match else 0:04x}"
    if bus == "acpi":
        return "acpi-0"
    if bus == "mdio_bus":
        match = _MDIO.fullmatch(device)
        return f"mdio-{int(match[1]) if match else 0:x}"
    return ""


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort `temp2` before `temp10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
