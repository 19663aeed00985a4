"""What the state of a pool robot becomes.

Four kinds of robots report the same in different places: `vr` and `vortrax`, `cyclonext`,
`cyclobat`. Durations are minutes, times Unix seconds.
"""

import math
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


def parse_robot(reported: Fields, kind: str) -> Robot | None:
    """Return the robot in the state of a device; None when it reports none, as when it is off."""
    equipment = _fields(reported.get("equipment"))
    if kind == "cyclonext":
        robot = _fields(equipment.get("robot.1"))
        return _parse_cyclonext(robot) if robot else None
    robot = _fields(equipment.get("robot"))
    if not robot:
        return None
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
    status = _fields(reported.get("aws")).get("status")
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


def _parse_vr(robot: Fields) -> Robot:
    cycle = _number(robot.get("prCyc"))
    error = _number(robot.get("errorCode"))
    error_state = _number(robot.get("errorState"))
    sensor = _fields(_fields(robot.get("sensors")).get("sns_1"))
    temperature = _number(sensor.get("val"))
    return Robot(
        state=_number(robot.get("state")),
        cycle=cycle,
        error=error_state if error is None else error,
        start=_number(robot.get("cycleStartTime")),
        duration=_duration(robot, cycle),
        added=_number(robot.get("stepper")) or 0.0,
        total_hours=_number(robot.get("totalHours")),
        temperature=_number(sensor.get("state")) if temperature is None else temperature,
        canister=_number(robot.get("canister")),
        error_state=error_state,
    )


def _parse_cyclonext(robot: Fields) -> Robot:
    cycle = _number(robot.get("cycle"))
    return Robot(
        state=_number(robot.get("mode")),
        cycle=cycle,
        error=_number(_fields(robot.get("errors")).get("code")),
        start=_number(robot.get("cycleStartTime")),
        duration=_duration(robot, cycle),
        added=_number(robot.get("stepper")) or 0.0,
        total_hours=_hours(robot.get("totRunTime")),
        canister=_number(robot.get("canister")),
    )


def _parse_cyclobat(robot: Fields) -> Robot:
    main, stats = _fields(robot.get("main")), _fields(robot.get("stats"))
    cycle = _number(main.get("mode"))
    cycles = _fields(robot.get("cycles"))
    return Robot(
        state=_number(main.get("state")),
        cycle=cycle,
        error=_number(main.get("error")),
        start=_number(main.get("cycleStartTime")),
        duration=_named_duration(
            {name: _fields(item).get("duration") for name, item in cycles.items()}, cycle
        ),
        added=0.0,
        total_hours=_hours(stats.get("totRunTime")),
        temperature=_number(stats.get("tmp")),
        battery=_number(_fields(robot.get("battery")).get("userChargePerc")),
    )


def _duration(robot: Fields, cycle: float | None) -> float | None:
    durations = robot.get("durations")
    if isinstance(durations, list):
        # In the order of the cycles.
        is_place = cycle is not None and cycle.is_integer() and 0 <= cycle < len(durations)
        return _number(durations[int(cycle)]) if is_place and cycle is not None else None
    durations = _fields(durations)
    if cycle == SMART and _number(robot.get("firstSmrtFlag")):
        first = _number(durations.get(FIRST_SMART))
        if first is not None:
            return first
    return _named_duration(durations, cycle)


def _named_duration(durations: Fields, cycle: float | None) -> float | None:
    names = DURATIONS.get(int(cycle), ()) if cycle is not None and cycle.is_integer() else ()
    values = (_number(durations.get(name)) for name in names)
    return next((value for value in values if value is not None), None)


def _hours(minutes: object) -> float | None:
    value = _number(minutes)
    return None if value is None else value / 60


def _fields(value: object) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
