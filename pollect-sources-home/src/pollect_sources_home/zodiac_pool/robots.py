"""What the state of a pool robot becomes.

Four kinds of robots report the same in different places: `vr` and `vortrax`, `cyclonext`,
`cyclobat`. Durations are minutes, times Unix seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    Alert,
    Headline,
    Metric,
    Panel,
    Sample,
)
from pollect_sources_home.numbers import json_number

Fields: TypeAlias = Mapping[str, Any]

_SERIAL = ("device_serial",)

STATE = Metric(
    "state",
    help="What the robot does: 0 stopped, 1 running, 2 paused or steered, 3 returning.",
    labels=_SERIAL,
    headline=Headline("robot"),
    panel=Panel(states={0: "stopped", 1: "running", 2: "paused", 3: "returning"}),
)
PROGRAM_CYCLE = Metric(
    "program_cycle",
    help="Cycle: 0 waterline or wall, 1 quick or floor, 2 smart, 3 deep or both, 4 custom.",
    labels=_SERIAL,
    panel=Panel(states={0: "waterline", 1: "quick", 2: "smart", 3: "deep", 4: "custom"}),
)
ERROR_CODE = Metric(
    "error_code",
    help="Error of the robot, 0 for none.",
    labels=_SERIAL,
    alert=Alert("PoolRobotFault", "the robot reports an error", above=0),
)
REMAINING_TIME = Metric(
    "remaining_time",
    help="Seconds to the end of the cycle; -1 when the robot does not run.",
    unit="seconds",
    labels=_SERIAL,
    headline=Headline("left"),
)
CONNECTED = Metric(
    "connected",
    help="Whether the robot is connected to the cloud.",
    labels=_SERIAL,
    panel=YES_IS_GOOD.needing("details"),
)
TEMPERATURE = Metric(
    "temperature",
    help="Temperature of the water.",
    unit="celsius",
    labels=_SERIAL,
    headline=Headline("water"),
    panel=DETAIL,
)
CANISTER_FULL = Metric(
    "canister_full",
    help="Filling of the canister, 0 to 1.",
    unit="ratio",
    labels=_SERIAL,
    panel=Panel(minimum=0, maximum=1).needing("details"),
)
ERROR_STATE = Metric(
    "error_state", help="State of errors of the robot.", labels=_SERIAL, panel=DETAIL
)
TOTAL_HOURS = Metric(
    "total_hours", help="Hours the robot has run.", unit="hours", labels=_SERIAL, panel=DETAIL
)
CYCLE_DURATION = Metric(
    "cycle_duration", help="Minutes the cycle takes.", unit="minutes", labels=_SERIAL, panel=DETAIL
)
BATTERY = Metric(
    "battery",
    help="Charge of the battery in percent.",
    unit="percent",
    labels=_SERIAL,
    panel=Panel(minimum=0, maximum=100).needing("details"),
)
INFO = Metric(
    "info", help="Always 1; the label has the type.", labels=(*_SERIAL, "model"), panel=DETAIL
)

METRICS = (
    *(STATE, PROGRAM_CYCLE, ERROR_CODE, REMAINING_TIME),
    *(CONNECTED, TEMPERATURE, CANISTER_FULL, ERROR_STATE, TOTAL_HOURS, CYCLE_DURATION),
    *(BATTERY, INFO),
)

#: Cycle -> the names of its duration; which one there is depends on the firmware.
DURATIONS: Mapping[int, tuple[str, ...]] = {
    0: ("waterTim", "wallTim", "waterlineTim"),
    1: ("quickTim", "floorTim"),
    2: ("smartTim",),
    3: ("deepTim", "floorWallsTim"),
    4: ("customTim",),
}
SMART = 2
FIRST_SMART = "firstSmartTim"
#: Robots whose clock was never set start their cycles in 1970 or in 2000.
_EARLIEST_START = 1_262_304_000  # 2010
#: A start that lies further ahead than clocks differ is none.
_CLOCK_ERROR_SECONDS = 3600.0
_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True)
class Robot:
    """The state of a robot of any kind; None is what it does not say."""

    state: float | None
    cycle: float | None
    error: float | None
    start: float | None
    #: Minutes the cycle takes, and what its owner added.
    duration: float | None
    added: float
    total_hours: float | None = None
    temperature: float | None = None
    battery: float | None = None
    canister: float | None = None
    error_state: float | None = None

    def remaining(self, now: float) -> float | None:
        """Return the seconds to the end of the cycle; -1 when there is none, None if unknown."""
        if self.state is None:
            return None
        if self.state == 0 or self.start is None:
            return -1.0
        if not _EARLIEST_START <= self.start <= now + _CLOCK_ERROR_SECONDS:
            return -1.0
        if self.duration is None:
            return None
        minutes = self.duration + self.added
        return max(0.0, round(minutes * _SECONDS_PER_MINUTE - (now - self.start)))


@dataclass(frozen=True)
class Place:
    """An object in the state of a device; notes what stands there and cannot be read."""

    fields: Fields
    path: str
    problems: list[str]

    def inner(self, name: str) -> "Place":
        """Return the object under a name, an empty one without."""
        path = f"{self.path}.{name}" if self.path else name
        value = self.fields.get(name)
        if value is not None and not isinstance(value, Mapping):
            self.problems.append(f"{path}: expected an object, got {value!r:.40}")
            value = None
        return Place(value or {}, path, self.problems)

    def number(self, name: str) -> float | None:
        """Return the number under a name, None without one."""
        return self.take(name, self.fields.get(name))

    def take(self, name: str, value: object) -> float | None:
        """Return a value that stands under a name, if it is a number."""
        number = None if isinstance(value, bool) else json_number(value)
        if value is not None and number is None:
            self.problems.append(f"{self.path}.{name}: expected a number, got {value!r:.40}")
        return number


def parse_robot(reported: Fields, kind: str, problems: list[str]) -> Robot | None:
    """Return the robot in the state of a device; None when it reports none, as when it is off.

    What cannot be read is added to `problems`.
    """
    equipment = Place(reported, "", problems).inner("equipment")
    robot = equipment.inner("robot.1" if kind == "cyclonext" else "robot")
    if not robot.fields:
        return None
    if kind == "cyclonext":
        return _parse_cyclonext(robot)
    return _parse_cyclobat(robot) if kind == "cyclobat" else _parse_vr(robot)


def robot_samples(robot: Robot, serial: str, now: float) -> Iterator[Sample]:
    """Yield the values of 1.x."""
    for metric, value in (
        (STATE, robot.state),
        (PROGRAM_CYCLE, robot.cycle),
        (ERROR_CODE, robot.error),
        (REMAINING_TIME, robot.remaining(now)),
    ):
        if value is not None:
            yield metric.sample(value, serial)


def detail_samples(
    robot: Robot | None, reported: Fields, serial: str, kind: str
) -> Iterator[Sample]:
    """Yield what else a robot reports."""
    yield INFO.sample(1, serial, kind)
    aws = reported.get("aws")
    status = aws.get("status") if isinstance(aws, Mapping) else None
    if isinstance(status, str):
        yield CONNECTED.sample(float(status == "connected"), serial)
    if robot is None:
        return
    for metric, value in (
        (TEMPERATURE, robot.temperature),
        (CANISTER_FULL, robot.canister),
        (ERROR_STATE, robot.error_state),
        (TOTAL_HOURS, robot.total_hours),
        (CYCLE_DURATION, robot.duration),
        (BATTERY, robot.battery),
    ):
        if value is not None:
            yield metric.sample(value, serial)


def _parse_vr(robot: Place) -> Robot:
    cycle = robot.number("prCyc")
    error = robot.number("errorCode")
    error_state = robot.number("errorState")
    sensor = robot.inner("sensors").inner("sns_1")
    temperature = sensor.number("val")
    return Robot(
        state=robot.number("state"),
        cycle=cycle,
        error=error_state if error is None else error,
        start=robot.number("cycleStartTime"),
        duration=_duration(robot, cycle),
        added=robot.number("stepper") or 0.0,
        total_hours=robot.number("totalHours"),
        temperature=sensor.number("state") if temperature is None else temperature,
        canister=robot.number("canister"),
        error_state=error_state,
    )


def _parse_cyclonext(robot: Place) -> Robot:
    cycle = robot.number("cycle")
    return Robot(
        state=robot.number("mode"),
        cycle=cycle,
        error=robot.inner("errors").number("code"),
        start=robot.number("cycleStartTime"),
        duration=_duration(robot, cycle),
        added=robot.number("stepper") or 0.0,
        total_hours=_hours(robot.number("totRunTime")),
        canister=robot.number("canister"),
    )


def _parse_cyclobat(robot: Place) -> Robot:
    main, stats = robot.inner("main"), robot.inner("stats")
    cycle = main.number("mode")
    cycles = robot.inner("cycles")
    names = (name for name in _duration_names(cycle) if name in cycles.fields)
    durations = (cycles.inner(name).number("duration") for name in names)
    return Robot(
        state=main.number("state"),
        cycle=cycle,
        error=main.number("error"),
        start=main.number("cycleStartTime"),
        duration=_first(durations),
        added=0.0,
        total_hours=_hours(stats.number("totRunTime")),
        temperature=stats.number("tmp"),
        battery=robot.inner("battery").number("userChargePerc"),
    )


def _duration(robot: Place, cycle: float | None) -> float | None:
    listed = robot.fields.get("durations")
    if isinstance(listed, list):
        # In the order of the cycles.
        is_place = cycle is not None and cycle.is_integer() and 0 <= cycle < len(listed)
        if not is_place or cycle is None:
            return None
        return robot.take(f"durations[{int(cycle)}]", listed[int(cycle)])
    durations = robot.inner("durations")
    if cycle == SMART and robot.number("firstSmrtFlag"):
        first = durations.number(FIRST_SMART)
        if first is not None:
            return first
    return _first(durations.number(name) for name in _duration_names(cycle))


def _duration_names(cycle: float | None) -> tuple[str, ...]:
    return DURATIONS.get(int(cycle), ()) if cycle is not None and cycle.is_integer() else ()


def _first(values: Iterator[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _hours(minutes: float | None) -> float | None:
    return None if minutes is None else minutes / 60
