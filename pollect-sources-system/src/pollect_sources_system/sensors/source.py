"""Source `Sensors`: temperatures, voltages, fans and power of the mainboard and its devices.

Read through `sensors -j` (Debian: lm-sensors), which knows the labels of `sensors.conf`; straight
from the kernel where the program is not installed. Cost of a probe: one process, or some small
files per chip.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from msgspec import Meta

from pollect.api import (
    YES_IS_BAD,
    Alert,
    Headline,
    Metric,
    MissingDependency,
    NoData,
    Panel,
    Program,
    Roots,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.distinct import Named, tell_apart
from pollect.support.filters import NameFilter, Names
from pollect.support.process import Command, CommandOverride, program_timeout
from pollect_sources_system.sensors.hwmon import read_hwmon
from pollect_sources_system.sensors.payload import (
    LIMITS,
    Feature,
    feature_id,
    find_alarm,
    find_limits,
    find_quantity,
    find_value,
    parse_sensors,
    scale_as_text,
)

SENSORS = Program("sensors", "lm-sensors")
NOTHING_FOUND = "no sensors found; `sensors-detect` tells which drivers are missing"
VALUE_PARTS = ("input", "average", "vid", "fault")

LABELS = ("device", "name", "unit")
VALUE = Metric(
    None,
    help="What the sensor measures, in the unit of the label.",
    labels=LABELS,
    headline=Headline(""),
)
#: By their names in hwmon.
LIMIT_METRICS = {
    name: Metric(
        name,
        help=f"{what}, in the unit of the label.",
        labels=LABELS,
        panel=Panel(needs=("limits|details",)),
    )
    for name, what in {
        "max": "Upper limit",
        "min": "Lower limit",
        "crit": "Critical upper limit",
        "lcrit": "Critical lower limit",
    }.items()
}
ALARM = Metric(
    "alarm",
    help="1 while the sensor raises an alarm, else 0.",
    labels=("device", "name"),
    panel=YES_IS_BAD.needing("alarms|details"),
    alert=Alert("SensorAlarm", "a sensor raises an alarm", above=0, lasting_seconds=60),
)


class SensorsConfig(SourceConfig, frozen=True, kw_only=True):
    include: Annotated[
        Names,
        Meta(description="Chips to report (`coretemp-isa-*`), letter case ignored; default: all."),
    ] = None
    exclude: Annotated[Names, Meta(description="Chips to leave out, letter case ignored.")] = None
    exclude_names: Annotated[
        Names,
        Meta(description="Sensors to leave out by their `name` label, for unconnected inputs."),
    ] = None
    use_base_units: Annotated[
        bool, Meta(description="False: values and units as `sensors` prints them (mV, kW).")
    ] = True
    limits: Annotated[bool, Meta(description="Also report the limits of each sensor.")] = False
    alarms: Annotated[bool, Meta(description="Also report the alarms.")] = False
    command: Annotated[
        CommandOverride, Meta(description="What to run instead of `sensors`, with its words.")
    ] = None


class SensorsSource(Source[SensorsConfig]):
    """Temperatures, voltages, fan speeds and power by chip and sensor."""

    config_type = SensorsConfig
    metrics = (VALUE, *LIMIT_METRICS.values(), ALARM)

    def __init__(self, config: SensorsConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._chips = NameFilter(config.include, config.exclude, ignore_case=True)
        self._names = NameFilter(exclude=config.exclude_names, ignore_case=True)
        self._limits = config.limits or config.details
        self._alarms = config.alarms or config.details
        self._command = Command(SENSORS, config.command, stopping=context.stopping)
        self._uses_program = True
        self._warned = False

    def open(self) -> None:
        has_monitors = (self.context.roots.sys / "class" / "hwmon").is_dir()
        if has_monitors and self.context.roots.sys != Roots().sys and not self.config.command:
            # The program knows one place only, which shows this container.
            self._uses_program = False
            return
        try:
            self._command.require()
        except MissingDependency:
            if self.config.command or not has_monitors:
                raise
            self._uses_program = False
            self.log.info("`sensors` is not installed; reading the kernel's hwmon itself")

    def probe(self) -> Iterable[Sample]:
        features = self._run_program() if self._uses_program else self._read_kernel()
        if not features:
            if not self._warned:
                self.log.warning(NOTHING_FOUND)
                self._warned = True
            raise NoData(NOTHING_FOUND)
        chosen = [feature for feature in features if self._chips.accepts(feature.chip)]
        readings = [_read(feature) for feature in chosen]
        # Manufacturers call two fans alike. One label for a fan and a temperature is not a clash,
        # except for alarms, which carry no unit.
        names = tell_apart(
            Named(reading.name, reading.id, (reading.device, reading.unit)) for reading in readings
        )
        alarm_names = tell_apart(
            Named(name, reading.id, reading.device)
            for name, reading in zip(names, readings, strict=True)
        )
        return [
            sample
            for feature, reading, name, alarm_name in zip(
                chosen, readings, names, alarm_names, strict=True
            )
            if self._names.accepts(reading.name) and self._names.accepts(name)
            for sample in self._samples(feature, reading.device, name, alarm_name)
        ]

    def _run_program(self) -> list[Feature]:
        timeout = program_timeout(self.deadline_seconds())
        finished = self._command.run("-j", timeout=timeout, statuses=None)
        if finished.status and not finished.stdout.strip("{} \n"):
            # 1 is also the status of an old version that does not know -j.
            if "no sensors found" in finished.stderr.lower() or "{" in finished.stdout:
                return []
            reason = finished.first_error_line or "no message"
            raise TargetUnavailable(f"sensors: exit status {finished.status}: {reason}")
        problems: list[str] = []
        features = parse_sensors(finished.stdout, problems)
        self.troubles.note("sensors", problems)
        return features

    def _read_kernel(self) -> list[Feature]:
        parts = [*VALUE_PARTS, *(LIMITS if self._limits else ()), *(["alarm"] * self._alarms)]
        try:
            return read_hwmon(self.context.roots.sys, parts)
        except OSError as error:
            raise TargetUnavailable(f"cannot read the hardware monitors: {error}") from error

    def _samples(
        self, feature: Feature, device: str, name: str, alarm_name: str
    ) -> Iterable[Sample]:
        if found := find_value(feature):
            value, quantity = found
            unit = quantity.unit
            if not self.config.use_base_units:
                value, unit = scale_as_text(value, quantity)
            yield VALUE.sample(value, device, name, unit)
            if self._limits:
                for limit, bound in find_limits(feature).items():
                    yield LIMIT_METRICS[limit].sample(bound, device, name, quantity.unit)
        if self._alarms and (alarm := find_alarm(feature)) is not None:
            yield ALARM.sample(float(alarm), device, alarm_name)


class _Reading(NamedTuple):
    device: str
    #: The label as 1.x wrote it; not yet distinguished from others.
    name: str
    id: str
    unit: str


def _read(feature: Feature) -> _Reading:
    # A sensor that fails for a while must not leave its name to the next one.
    quantity = find_quantity(feature)
    unit = quantity.unit if quantity else ""
    name = feature.label.lower().replace(" ", "_")
    return _Reading(feature.chip.lower(), name, feature_id(feature), unit)
