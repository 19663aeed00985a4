"""The values of a car. The first six have the names of 1.x, spelling included."""

from pollect.api import (
    DETAIL,
    YES_NO,
    Alert,
    Headline,
    Kind,
    Metric,
    Panel,
)

VALUES = (
    Metric(
        "kilometers",
        help="Mileage.",
        unit="kilometres",
        kind=Kind.COUNTER,
        headline=Headline("mileage", total=True),
    ),
    Metric("temp.outsite", help="Temperature outside of the car.", unit="celsius"),
    Metric(
        "range.total",
        help="Distance that the car goes with what it has.",
        unit="kilometres",
        headline=Headline("range"),
    ),
    Metric(
        "tankLevel",
        help="Level of the tank.",
        unit="percent",
        headline=Headline("tank"),
        panel=Panel(minimum=0, maximum=100),
    ),
    Metric(
        "oilLevelPercent",
        help="Level of the engine's oil.",
        unit="percent",
        panel=Panel(minimum=0, maximum=100),
        alert=Alert("CarOilLow", "the engine has little oil left", below=10),
    ),
    Metric("range.adblue", help="Distance until AdBlue is used up.", unit="kilometres"),
)
DETAILS = (
    Metric(
        "soc",
        help="State of charge of the drive battery.",
        unit="percent",
        headline=Headline("battery"),
        panel=Panel(minimum=0, maximum=100).needing("details"),
    ),
    Metric(
        "range.electric",
        help="Distance that the battery is good for.",
        unit="kilometres",
        panel=DETAIL,
    ),
    Metric(
        "range.fuel", help="Distance that the fuel is good for.", unit="kilometres", panel=DETAIL
    ),
    Metric(
        "inspection_due_km",
        help="Distance until the next inspection, negative when it is overdue.",
        unit="kilometres",
        panel=DETAIL,
    ),
    Metric(
        "inspection_due_days",
        help="Days until the next inspection, negative when it is overdue.",
        unit="days",
        panel=DETAIL,
        alert=Alert("CarInspectionDue", "the inspection is due soon", below=14),
    ),
    Metric(
        "oil_service_due_km",
        help="Distance until the next oil change, negative when it is overdue.",
        unit="kilometres",
        panel=DETAIL,
    ),
    Metric(
        "oil_service_due_days",
        help="Days until the next oil change, negative when it is overdue.",
        unit="days",
        panel=DETAIL,
        alert=Alert("CarOilServiceDue", "the oil change is due soon", below=14),
    ),
    Metric(
        "doors_locked", help="Whether the car is locked: 1 or 0.", panel=YES_NO.needing("details")
    ),
)
AGE = Metric(
    "data_age",
    help="Time since the newest of these values was taken.",
    unit="seconds",
    panel=DETAIL,
)


def labelled(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Return the same metrics with the label `vin`."""
    return tuple(each.labelled("vin") for each in metrics)
