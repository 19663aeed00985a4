"""The registers of SMA inverters and what their contents mean. Pure.

From the maker's list (SMA Modbus profile, as OpenEMS and evcc use it): addresses as printed, big
endian, the high word first. Each type has a pattern for "not available"; an inverter that restarts
answers all ones to everything for a round or two.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pollect.api import (
    DETAIL,
    Alert,
    Headline,
    Kind,
    Metric,
    Panel,
)

#: Unit id 1 answers here, whatever the unit id of the inverter is: serial number (two registers),
#: SUSyID, unit id.
UNIT_ID_ADDRESS = 42109
UNIT_ID_COUNT = 4
LOOK_UP_UNIT = 1
DEFAULT_UNIT = 3
UNITS = range(1, 248)

TEMPERATURE = Metric("temp", help="Temperature inside the inverter.", unit="celsius")
FREQUENCY = Metric("frequency", help="Frequency of the grid.", unit="hertz")
POWER = Metric(
    "power",
    help="Power to the grid, all phases together.",
    unit="watts",
    headline=Headline("power"),
)
ENERGY = Metric(
    "energy",
    help="Energy since installation.",
    unit="Wh",
    kind=Kind.COUNTER,
    headline=Headline("total", total=True),
)
DC_VOLTAGE = Metric("dc_voltage", help="Voltage of the first input.", unit="volts")
DC_CURRENT = Metric("dc_current", help="Current of the first input.", unit="amperes")
AC_VOLTAGE = Metric(
    "ac_voltage", help="Voltage of a phase of the grid.", unit="volts", labels=("phase",)
)

STATUS = Metric(
    "status",
    help="State of the device: 35 fault, 303 off, 307 ok, 455 warning.",
    panel=Panel(
        states={35: "fault", 303: "off", 307: "ok", 455: "warning"}, good=(307,), bad=(35,)
    ).needing("details"),
    alert=[
        Alert("InverterFault", "the inverter reports a fault", below=36),
        Alert("InverterWarning", "the inverter reports a warning", above=454),
    ],
)
PHASE_POWER = Metric(
    "power_phase", help="Power of one phase.", unit="watts", labels=("phase",), panel=DETAIL
)
ENERGY_DAY = Metric(
    "energy_day", help="Energy of this day.", unit="Wh", kind=Kind.COUNTER, panel=DETAIL
)
OPERATING_TIME = Metric(
    "operating_time", help="Time in operation.", unit="seconds", kind=Kind.COUNTER, panel=DETAIL
)
FEED_IN_TIME = Metric(
    "feed_in_time",
    help="Time of feeding into the grid.",
    unit="seconds",
    kind=Kind.COUNTER,
    panel=DETAIL,
)
AC_CURRENT = Metric(
    "ac_current", help="Current of one phase.", unit="amperes", labels=("phase",), panel=DETAIL
)
REACTIVE_POWER = Metric(
    "reactive_power", help="Reactive power of all phases.", unit="var", panel=DETAIL
)
APPARENT_POWER = Metric(
    "apparent_power", help="Apparent power of all phases.", unit="VA", panel=DETAIL
)
DC_POWER = Metric("dc_power", help="Power of the first input.", unit="watts", panel=DETAIL)
INPUT_CURRENT = Metric(
    "dc_input_current",
    help="Current of one input.",
    unit="amperes",
    labels=("input",),
    panel=DETAIL,
)
INPUT_VOLTAGE = Metric(
    "dc_input_voltage", help="Voltage of one input.", unit="volts", labels=("input",), panel=DETAIL
)
INPUT_POWER = Metric(
    "dc_input_power", help="Power of one input.", unit="watts", labels=("input",), panel=DETAIL
)
ISOLATION = Metric("isolation_resistance", help="Resistance to earth.", unit="ohms", panel=DETAIL)
LEAKAGE = Metric("leakage_current", help="Residual current.", unit="amperes", panel=DETAIL)
BATTERY_SOC = Metric(
    "battery_soc",
    help="Charge of the battery.",
    unit="percent",
    panel=Panel(minimum=0, maximum=100).needing("details"),
)
GRID_DRAWN = Metric("grid_drawn", help="Power drawn at the grid meter.", unit="watts", panel=DETAIL)
GRID_FED = Metric("grid_fed", help="Power fed in at the grid meter.", unit="watts", panel=DETAIL)

#: What an enumeration says instead of a value.
_NO_ENTRY = 0x00FFFFFD


@dataclass(frozen=True)
class Register:
    """One value: where it is, and how to read it."""

    metric: Metric
    address: int
    signed: bool = False
    #: The raw number is divided by this.
    divisor: int = 1
    label: str = ""
    #: How many registers of 16 bits.
    count: int = 2
    is_enum: bool = False
    #: What stands for a value that is not available; None to leave it out.
    fallback: float | None = None


def _s32(metric: Metric, address: int, divisor: int = 1, label: str = "") -> Register:
    return Register(metric, address, signed=True, divisor=divisor, label=label)


def _phases(metric: Metric, addresses: Sequence[int], divisor: int = 1) -> Iterable[Register]:
    return (_s32(metric, address, divisor, str(n)) for n, address in enumerate(addresses, 1))


#: What 1.x had. At night, asleep, it showed 0 for what flows, and dashboards rely on that.
REGISTERS = (
    Register(TEMPERATURE, 30953, signed=True, divisor=10),
    Register(FREQUENCY, 30803, divisor=100, fallback=0.0),
    Register(POWER, 30775, signed=True, fallback=0.0),
    Register(ENERGY, 30513, count=4),
    Register(DC_VOLTAGE, 30771, signed=True, divisor=100, fallback=0.0),
    Register(DC_CURRENT, 30769, signed=True, divisor=1000, fallback=0.0),
    *(
        Register(AC_VOLTAGE, address, divisor=100, label=phase, fallback=0.0)
        for phase, address in (("1", 30783), ("2", 30785), ("3", 30787))
    ),
)
DETAILS = (
    Register(STATUS, 30201, is_enum=True),
    *_phases(PHASE_POWER, (30777, 30779, 30781)),
    Register(ENERGY_DAY, 30517, count=4),
    Register(OPERATING_TIME, 30521, count=4),
    Register(FEED_IN_TIME, 30525, count=4),
    *_phases(AC_CURRENT, (30977, 30979, 30981), 1000),
    _s32(REACTIVE_POWER, 30805),
    _s32(APPARENT_POWER, 30813),
    _s32(DC_POWER, 30773),
    *_phases(INPUT_CURRENT, (30769, 30957), 1000),
    *_phases(INPUT_VOLTAGE, (30771, 30959), 100),
    *_phases(INPUT_POWER, (30773, 30961)),
    Register(ISOLATION, 30225),
    _s32(LEAKAGE, 31247, 1000),
    Register(BATTERY_SOC, 30845),
    _s32(GRID_DRAWN, 30865),
    _s32(GRID_FED, 30867),
)
METRICS = tuple(dict.fromkeys(register.metric for register in (*REGISTERS, *DETAILS)))


def decode(register: Register, words: Sequence[int]) -> float | None:
    """Return the value in the unit of the metric, None for "not available"."""
    raw = 0
    for word in words:
        raw = raw << 16 | word
    bits = 16 * len(words)
    if register.is_enum and raw == _NO_ENTRY:
        return None
    if register.signed:
        half = 1 << (bits - 1)
        if raw == half:
            return None
        raw -= 2 * half if raw > half else 0
    elif raw == (1 << bits) - 1:
        return None
    return raw / register.divisor


def is_blank(contents: Iterable[Sequence[int]]) -> bool:
    """Tell whether an inverter answered all ones to everything, as while it restarts.

    In a signed register alone they would be -1.
    """
    return all(word == 0xFFFF for words in contents for word in words)


def unit_id_of(words: Sequence[int]) -> int | None:
    """Return the unit id that the look-up found, None if there is none."""
    return words[3] if words[3] in UNITS else None
