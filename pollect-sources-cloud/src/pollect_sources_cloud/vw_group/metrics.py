"""The values of a car. The first six have the names of 1.x, spelling included."""

from pollect.api import Kind, Metric

VALUES = (
    Metric("kilometers", help="Mileage.", unit="kilometres", kind=Kind.COUNTER),
    Metric("temp.outsite", help="Temperature outside of the car.", unit="celsius"),
    Metric("range.total", help="Distance that the car goes with what it has.", unit="kilometres"),
    Metric("tankLevel", help="Level of the tank.", unit="percent"),
    Metric("oilLevelPercent", help="Level of the engine's oil.", unit="percent"),
    Metric("range.adblue", help="Distance until AdBlue is used up.", unit="kilometres"),
)
DETAILS = (
    Metric("soc", help="State of charge of the drive battery.", unit="percent"),
    Metric("range.electric", help="Distance that the battery is good for.", unit="kilometres"),
    Metric("range.fuel", help="Distance that the fuel is good for.", unit="kilometres"),
    Metric(
        "inspection_due_km",
        help="Distance until the next inspection, negative when it is overdue.",
        unit="kilometres",
    ),
    Metric(
        "inspection_due_days",
        help="Days until the next inspection, negative when it is overdue.",
        unit="days",
    ),
    Metric(
        "oil_service_due_km",
        help="Distance until the next oil change, negative when it is overdue.",
        unit="kilometres",
    ),
    Metric(
        "oil_service_due_days",
        help="Days until the next oil change, negative when it is overdue.",
        unit="days",
    ),
    Metric("doors_locked", help="Whether the car is locked: 1 or 0."),
)
AGE = Metric("data_age", help="Time since the newest of these values was taken.", unit="seconds")


def labelled(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Return the same metrics with the label `vin`."""
    return tuple(
        Metric(each.name, help=each.help, unit=each.unit, kind=each.kind, labels=("vin",))
        for each in metrics
    )
