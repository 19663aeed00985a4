"""Metrics of evcc: what is known of the keys of its state, and those made of lists.

evcc decides on the keys, so a key that is unknown here is exported all the same. Units are those on
the wire: energies of a session and of a day are Wh, whatever the maker's description says.
"""

import functools

from pollect.api import (
    DETAIL,
    YES_NO,
    Headline,
    Kind,
    Metric,
    Panel,
)

_COUNTERS = frozenset({"chargeTotalImport", "vehicleOdometer", "pvEnergy"})

_UNITS = {
    "watts": (
        "auxPower batteryPower chargePower gridPower homePower pvPower residualPower "
        "disableThreshold enableThreshold"
    ),
    "Wh": (
        "chargedEnergy chargeRemainingEnergy sessionEnergy todayEnergy last24hEnergy last7dEnergy"
    ),
    "kWh": "batteryCapacity batteryEnergy chargeTotalImport limitEnergy planEnergy pvEnergy",
    "percent": (
        "batterySoc bufferSoc bufferStartSoc effectiveLimitSoc effectiveMinSoc effectivePlanSoc "
        "limitSoc minSoc prioritySoc sessionSolarPercentage vehicleLimitSoc vehicleSoc "
        "batteryBoostLimit"
    ),
    "amperes": (
        "chargeCurrent effectiveMaxCurrent effectiveMinCurrent maxCurrent minCurrent offeredCurrent"
    ),
    "seconds": (
        "connectedDuration chargeDuration chargeRemainingDuration disableDelay enableDelay "
        "interval phaseRemaining planOverrun pvRemaining"
    ),
    "km": "vehicleOdometer vehicleRange",
    "ratio": "greenShareHome greenShareLoadpoints",
    "g/kWh": "sessionCo2PerKWh tariffCo2 tariffCo2Home tariffCo2Loadpoints",
}
_UNIT_OF = {key: unit for unit, keys in _UNITS.items() for key in keys.split()}
#: Keys whose value is a number wherever they are.
NUMBERS = tuple(_UNIT_OF)

#: Metrics that are remembered, of all keys of all servers: far more than evcc has.
MOST_KEYS = 2000

#: Old name -> where it is in newer versions of evcc.
MOVED_KEYS = {
    "gridPower": ("grid", "power"),
    "batteryPower": ("battery", "power"),
    "batterySoc": ("battery", "soc"),
    "batteryCapacity": ("battery", "capacity"),
    "batteryEnergy": ("battery", "energy"),
}

_KNOWN_HELP = {
    "gridPower": "Power drawn from the grid, negative when fed in.",
    "batteryPower": "Power of all batteries, negative while they charge.",
    "batterySoc": "Charge of all batteries.",
    "batteryCapacity": "Capacity of all batteries.",
    "batteryEnergy": "Energy of all batteries.",
    "homePower": "Power of the home without the loadpoints.",
    "pvPower": "Power of all photovoltaic systems.",
    "pvEnergy": "Energy of all photovoltaic systems.",
    "chargePower": "Charging power of a loadpoint.",
    "chargedEnergy": "Energy of the charging session.",
    "charging": "1 while a loadpoint charges.",
    "connected": "1 while a car is connected.",
    "enabled": "1 while a loadpoint may charge.",
    "vehicleSoc": "Charge of the connected car.",
    "vehicleRange": "Range of the connected car.",
    "vehicleOdometer": "Odometer of the connected car.",
    "chargeTotalImport": "Energy that the meter of a loadpoint counted.",
}

PV_POWER = Metric(
    "pv_power",
    help="Power of one photovoltaic system.",
    unit="watts",
    labels=("title",),
    panel=DETAIL,
)
DEVICE_POWER = Metric(
    "battery_device_power",
    help="Power of one battery, negative while it charges.",
    unit="watts",
    labels=("title",),
    panel=DETAIL,
)
DEVICE_SOC = Metric(
    "battery_device_soc",
    help="Charge of one battery.",
    unit="percent",
    labels=("title",),
    panel=DETAIL,
)
PHASE_CURRENT = Metric(
    "phase_current",
    help="Current of one phase of a loadpoint.",
    unit="amperes",
    labels=("title", "phase"),
    panel=DETAIL,
)
PHASE_VOLTAGE = Metric(
    "phase_voltage",
    help="Voltage of one phase of a loadpoint.",
    unit="volts",
    labels=("title", "phase"),
    panel=DETAIL,
)
GRID_PHASE_POWER = Metric(
    "grid_phase_power",
    help="Power of one phase of the grid.",
    unit="watts",
    labels=("phase",),
    panel=DETAIL,
)
GRID_PHASE_CURRENT = Metric(
    "grid_phase_current",
    help="Current of one phase of the grid.",
    unit="amperes",
    labels=("phase",),
    panel=DETAIL,
)
LOADPOINT_MODE = Metric(
    "loadpoint_mode",
    help="1 for the mode that a loadpoint is in, 0 for the others.",
    labels=("title", "mode"),
    panel=DETAIL,
)
_HEADLINES = {
    "pvPower": Headline("PV"),
    "gridPower": Headline("grid"),
    "homePower": Headline("home"),
}
_PANELS = {
    "charging": YES_NO,
    "connected": YES_NO,
    "enabled": YES_NO,
    "batterySoc": Panel(minimum=0, maximum=100),
    "vehicleSoc": Panel(minimum=0, maximum=100),
}
INFO = Metric(
    "info", help="Always 1; the version of evcc is a label.", labels=("version",), panel=DETAIL
)

MODES = ("off", "now", "minpv", "pv")


@functools.lru_cache(maxsize=MOST_KEYS)
def site_metric(key: str) -> Metric:
    """Return the metric of a key of the whole site."""
    return _metric(key, f"{key} of the site, as evcc reports it.", ())


@functools.lru_cache(maxsize=MOST_KEYS)
def loadpoint_metric(key: str) -> Metric:
    """Return the metric of a key that every loadpoint has."""
    return _metric(key, f"{key} of a loadpoint, as evcc reports it.", ("title",))


@functools.lru_cache(maxsize=MOST_KEYS)
def statistics_metric(key: str) -> Metric:
    """Return the metric of a figure that evcc sums up for several periods."""
    unit = {"solarPercentage": "percent", "chargedKWh": "kWh", "avgCo2": "g/kWh"}.get(key, "")
    return Metric(
        f"statistics_{key}",
        help=f"{key} of all charging sessions of a period.",
        unit=unit,
        labels=("period",),
    )


def _metric(key: str, help: str, labels: tuple[str, ...]) -> Metric:
    return Metric(
        key,
        help=_KNOWN_HELP.get(key, help),
        unit=_UNIT_OF.get(key, ""),
        kind=Kind.COUNTER if key in _COUNTERS else Kind.GAUGE,
        labels=labels,
        headline=_HEADLINES.get(key, ()),
        panel=_PANELS.get(key),
    )


#: What evcc always had, for manual and tests; the state decides on the rest.
USUAL_METRICS = (
    *map(site_metric, ("homePower", "pvPower", *MOVED_KEYS)),
    *map(
        loadpoint_metric,
        ("chargePower", "chargedEnergy", "charging", "connected", "enabled", "vehicleSoc"),
    ),
)
