"""Source `SmartCtl`: health of ATA, NVMe and SAS drives, by way of smartctl.

Needs the program `smartctl` 7.0 or newer (Debian: smartmontools) and root, or CAP_SYS_RAWIO for
ATA and SAS and CAP_SYS_ADMIN for NVMe. Cost of a probe: one process per drive, one after another.

A sleeping disk is not woken (`nocheck`): its last values stay and `standby` says so.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, field

from pollect.api import (
    YES_IS_GOOD,
    YES_NO,
    Alert,
    BadResponse,
    ConfigError,
    Headline,
    Kind,
    Metric,
    NoData,
    Panel,
    Program,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.distinct import Named, tell_apart
from pollect.support.filters import NameFilter, Names
from pollect.support.process import Command, CommandOverride
from pollect_sources_system.smart_ctl.payload import DriveReport, parse_report, parse_scan

SMARTCTL = Program("smartctl", "smartmontools")
#: A drive that dies may keep smartctl waiting for minutes.
DRIVE_TIMEOUT_SECONDS = 30.0
#: What all drives together may take, unless the interval or the config allows more.
PROBE_TIMEOUT_SECONDS = 60.0
SHARE_OF_DEADLINE = 0.9
#: Exit status asked for when the drive sleeps; every other bit has a meaning of its own.
ASLEEP_STATUS = 0
#: smartctl finds these types by itself; naming `scsi` would hide the ATA drive behind it.
DETECTED_TYPES = frozenset({"", "ata", "auto", "nvme", "scsi"})

#: The attributes whose first count foretells failure best (5, 187, 188, 197 and 198), the same of
#: NVMe and SAS drives, and the alert of each.
FORETELLING = (
    ("Reallocated_Sector_Ct", "DriveReallocatedSectors", "the drive replaced bad sectors"),
    ("Reported_Uncorrect", "DriveUncorrectableErrors", "the drive reported data it cannot read"),
    ("Command_Timeout", "DriveCommandTimeouts", "the drive did not answer in time"),
    ("Current_Pending_Sector", "DrivePendingSectors", "the drive has sectors it cannot read"),
    ("Offline_Uncorrectable", "DriveOfflineUncorrectable", "a scan found unreadable sectors"),
    ("media_errors", "DriveMediaErrors", "the drive returned data it knows to be wrong"),
    ("critical_warning", "DriveCriticalWarning", "the drive gives a critical warning"),
    ("scsi_grown_defect_list", "DriveGrownDefects", "the drive replaced bad blocks"),
)
#: Percentages of what a drive can bear.
WEAR = {
    "Worn": {"attribute": "percentage_used"},
    "Endurance": {"attribute": "scsi_percentage_used_endurance_indicator"},
}

ATTRIBUTE_LABELS = ("attribute", "dev")
VALUE = Metric(
    help="SMART value as the drive counts it: raw values of ATA, health log of NVMe, error "
    "counters of SAS drives.",
    labels=ATTRIBUTE_LABELS,
    alert=[
        *(
            Alert(name, summary, above=0, labels={"attribute": attribute})
            for attribute, name, summary in FORETELLING
        ),
        *(
            Alert(f"Drive{name}", "the drive is nearly worn out", above=90, labels=at)
            for name, at in WEAR.items()
        ),
    ],
)
PASSED = Metric(
    "passed",
    help="1 if the drive calls itself healthy, 0 if it is failing.",
    labels=("dev",),
    headline=Headline("healthy"),
    alert=Alert("DriveFailing", "the drive says that it is failing", below=1),
    panel=YES_IS_GOOD,
)
TEMPERATURE = Metric(
    "temperature",
    help="Temperature in degrees Celsius.",
    unit="celsius",
    labels=("dev",),
    headline=True,
)
POWER_ON = Metric(
    "power_on_hours",
    help="Hours the drive was powered on.",
    unit="hours",
    kind=Kind.COUNTER,
    labels=("dev",),
)
POWER_CYCLES = Metric(
    "power_cycles",
    help="How often the drive was powered on.",
    kind=Kind.COUNTER,
    labels=("dev",),
)
EXIT_STATUS = Metric(
    "exit_status",
    help="Exit status of smartctl, a bit mask; see smartctl(8).",
    labels=("dev",),
    alert=Alert("DriveSelfTestFailed", "self-tests of the drive failed", above=127),
)
STANDBY = Metric(
    "standby",
    help="1 while the drive sleeps and its other values are the last ones known, else 0.",
    labels=("dev",),
    panel=YES_NO,
)
_WITH_RATINGS = Panel(needs=("normalized|details",))
NORMALIZED = Metric(
    "normalized",
    help="The attribute as the drive rates it; higher is better.",
    labels=ATTRIBUTE_LABELS,
    panel=_WITH_RATINGS,
)
WORST = Metric(
    "worst",
    help="The lowest rating the attribute ever had.",
    labels=ATTRIBUTE_LABELS,
    panel=_WITH_RATINGS,
)
THRESHOLD = Metric(
    "threshold",
    help="The rating at and below which the attribute counts as failed.",
    labels=ATTRIBUTE_LABELS,
    panel=_WITH_RATINGS,
)
INFO = Metric(
    "info",
    help="Always 1; the labels tell what drive it is.",
    labels=("dev", "model", "serial", "firmware"),
    panel=Panel(needs=("info|details",)),
)


class SmartCtlConfig(SourceConfig, frozen=True, kw_only=True):
    attributes: Annotated[
        Names, Meta(description="Attributes to report, by name or shell pattern; default: all.")
    ] = None
    devices: Annotated[
        Names,
        Meta(
            description="Drives: regular expressions that the beginning of a name in /dev must "
            "match (`sd[a-z]$`), or a path with its type (`/dev/bus/0 -d megaraid,0`). "
            "Default: what `smartctl --scan` finds."
        ),
    ] = None
    types: Annotated[
        dict[str, str],
        Meta(description="Device types for `smartctl -d`, by name: `{sda: sat}`."),
    ] = field(default_factory=dict)
    nocheck: Annotated[
        Literal["never", "sleep", "standby", "idle"],
        Meta(
            description="Leave drives alone that are in this state or in deeper sleep; `never` "
            "wakes them."
        ),
    ] = "standby"
    normalized: Annotated[
        bool, Meta(description="Also report how ATA drives rate their attributes.")
    ] = False
    info: Annotated[
        bool, Meta(description="Also report model, serial number and firmware, as labels.")
    ] = False
    command: Annotated[
        CommandOverride,
        Meta(description="What to run instead of `smartctl`: `sudo -n smartctl`, or its words."),
    ] = None


class Drive(NamedTuple):
    """One drive to ask."""

    label: str
    path: str
    #: For `smartctl -d`; empty where it finds out by itself.
    type: str = ""


class SmartCtlSource(Source[SmartCtlConfig]):
    """SMART attributes and health of drives; sleeping disks are left asleep."""

    config_type = SmartCtlConfig
    metrics = (
        VALUE,
        PASSED,
        TEMPERATURE,
        POWER_ON,
        POWER_CYCLES,
        EXIT_STATUS,
        STANDBY,
        NORMALIZED,
        WORST,
        THRESHOLD,
        INFO,
    )

    def __init__(self, config: SmartCtlConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._attributes = NameFilter(config.attributes)
        self._patterns: list[re.Pattern[str]] = []
        self._named: list[Drive] = []
        entries = [config.devices] if isinstance(config.devices, str) else config.devices or ()
        for position, entry in enumerate(entries):
            path, dashed, drive_type = entry.partition(" -d ")
            if dashed:
                self._named.append(_make_drive(path.strip(), drive_type.strip()))
                continue
            try:
                self._patterns.append(re.compile(entry))
            except re.error as error:
                # The sample config of 1.x has one: it must not keep all other sources away.
                self.config_warnings.append(
                    ConfigError(
                        f"{entry!r} is not a regular expression: {error}",
                        key=f"devices[{position}]",
                        hint="write for example `sd[a-z]$`",
                    )
                )
        self._command = Command(SMARTCTL, config.command, stopping=context.stopping)
        self._last: dict[str, list[Sample]] = {}

    def deadline_seconds(self) -> float:
        return self.config.timeout or max(self.context.interval, PROBE_TIMEOUT_SECONDS)

    def open(self) -> None:
        self._command.require()

    def probe(self) -> Iterable[Sample]:
        # What is left of the deadline goes to each drive in turn, so that one that hangs does
        # not take away what the others said.
        until = self.context.clock.monotonic() + SHARE_OF_DEADLINE * self.deadline_seconds()
        # What failed last time comes last: a drive that hangs delays the others once only.
        drives = sorted(self._find_drives(), key=lambda drive: drive.label in self.troubles)
        samples: list[Sample] = []
        read = 0
        for drive in drives:
            left = until - self.context.clock.monotonic()
            if left <= 0:
                self.log.debug("%s: no time left, it comes first next time", drive.label)
                break
            try:
                samples += self._read_drive(drive, min(left, DRIVE_TIMEOUT_SECONDS))
            except (TargetUnavailable, BadResponse) as error:
                self.troubles.failed(drive.label, error)
                continue
            self.troubles.works(drive.label)
            read += 1
        for warning in self.config_warnings:
            self.troubles.failed(warning.key, f"{warning.problem} ({warning.hint})")
        labels = {drive.label for drive in drives}
        patterns = {warning.key for warning in self.config_warnings}
        self.troubles.keep(labels | {_values_of(label) for label in labels} | patterns)
        self._last = {label: last for label, last in self._last.items() if label in labels}
        if not read and (drives or patterns):
            raise TargetUnavailable(str(self.troubles))
        if not drives:
            raise NoData("no drive found", withdraw=True)
        return samples

    def _find_drives(self) -> list[Drive]:
        if not self.config.devices:
            scanned = parse_scan(self._command.run("--scan", "--json").stdout)
            drives = [_make_drive(device.name, device.type) for device in scanned]
        else:
            drives = [*self._named, *self._match_drives()]
        unique = {(drive.label, drive.path): drive for drive in reversed(drives)}
        drives = list(unique.values())[::-1]
        # The second controller numbers its drives as the first does.
        labels = tell_apart(
            Named(drive.label, drive.path.removeprefix("/dev/")) for drive in drives
        )
        return [drive._replace(label=label) for drive, label in zip(drives, labels, strict=True)]

    def _match_drives(self) -> Iterator[Drive]:
        try:
            names = sorted(os.listdir(self.context.roots.dev))
        except OSError as error:
            raise TargetUnavailable(f"cannot list the devices: {error}") from error
        for name in names:
            if any(pattern.match(name) for pattern in self._patterns):
                path = str(self.context.roots.dev / name)
                yield _make_drive(path, self.config.types.get(name, ""), name)

    def _read_drive(self, drive: Drive, timeout: float) -> list[Sample]:
        arguments = ["--json", "-a"]
        if self.config.nocheck != "never":
            arguments = ["-n", f"{self.config.nocheck},{ASLEEP_STATUS}", *arguments]
        if drive.type:
            arguments += ["-d", drive.type]
        finished = self._command.run(*arguments, drive.path, timeout=timeout, statuses=None)
        if not finished.stdout.strip():
            reason = finished.first_error_line or f"exit status {finished.status}"
            raise TargetUnavailable(f"smartctl: {reason}")
        report = parse_report(finished.stdout)
        asleep = report.asleep or self._looks_asleep(report)
        if not report.has_data and not asleep:
            reason = "; ".join(report.messages) or f"exit status {report.exit_status}, no data"
            raise TargetUnavailable(f"smartctl: {reason}")
        if report.problems:
            self.troubles.failed(_values_of(drive.label), "; ".join(report.problems))
        elif not asleep:
            self.troubles.works(_values_of(drive.label))
        if not asleep:
            self._last[drive.label] = self._samples(drive.label, report)
        return [*self._last.get(drive.label, ()), STANDBY.sample(float(asleep), drive.label)]

    def _looks_asleep(self, report: DriveReport) -> bool:
        """Say whether nothing but the exit status we asked for came back."""
        may_sleep = self.config.nocheck != "never" and report.exit_status == ASLEEP_STATUS
        return may_sleep and not report.has_data

    def _samples(self, dev: str, report: DriveReport) -> list[Sample]:
        samples = [
            VALUE.sample(attribute.value, name, dev)
            for name, attribute in report.attributes.items()
            if self._wants(name, attribute.family)
        ]
        samples += [
            metric.sample(float(value), dev)
            for metric, value in (
                (PASSED, report.passed),
                (TEMPERATURE, report.temperature_celsius),
                (POWER_ON, report.power_on_hours),
                (POWER_CYCLES, report.power_cycles),
                (EXIT_STATUS, report.exit_status),
            )
            if value is not None
        ]
        if self.config.normalized or self.config.details:
            for name, rating in report.normalized.items():
                if self._wants(name, rating.family):
                    samples.append(NORMALIZED.sample(rating.value, name, dev))
                    samples.append(WORST.sample(rating.worst, name, dev))
                    samples.append(THRESHOLD.sample(rating.threshold, name, dev))
        if self.config.info or self.config.details:
            samples.append(INFO.sample(1.0, dev, report.model, report.serial, report.firmware))
        return samples

    def _wants(self, name: str, family: str) -> bool:
        return self._attributes.accepts(family) or self._attributes.accepts(name)


def _values_of(label: str) -> str:
    """Return what the troubles call the values of a drive, as opposed to the drive."""
    return f"{label} (values)"


def _make_drive(path: str, drive_type: str, name: str | None = None) -> Drive:
    """Return the drive at `path`.

    Behind a RAID controller the path is the controller's, and only the type tells the drives
    apart: `megaraid,0` is its label then.
    """
    if drive_type in DETECTED_TYPES:
        drive_type = ""
    label = drive_type if "," in drive_type else name or path.removeprefix("/dev/")
    return Drive(label, path, drive_type)
