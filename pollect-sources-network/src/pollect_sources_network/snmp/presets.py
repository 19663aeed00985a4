"""Tables that most devices have, ready to be walked.

`interfaces`: IF-MIB (RFC 2863). `storage`: HOST-RESOURCES-MIB (RFC 2790). `ups`: UPS-MIB (RFC
1628). `sensors`: ENTITY-SENSOR-MIB (RFC 3433) with the names of ENTITY-MIB (RFC 6933). `printer`:
Printer-MIB (RFC 3805) and the state of HOST-RESOURCES-MIB.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pollect.api import (
    YES_IS_GOOD,
    YES_NO,
    Alert,
    Headline,
    Kind,
    Metric,
    Panel,
)
from pollect_sources_network.snmp.conversion import Reader
from pollect_sources_network.snmp.oids import OBJECTS
from pollect_sources_network.snmp.rates import CounterBits
from pollect_sources_network.snmp.values import Display, number_of

#: Takes the cell and those of the columns it needs, None where one is missing.
Compute = Callable[[float, Sequence[float | None]], float | None]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column whose cells label the rows; in each the first of `oids` that is not empty counts."""

    name: str
    oids: tuple[str, ...]
    #: Words for the numbers of an enumeration.
    words: Mapping[str, str] = field(default_factory=dict)
    display: Display = "auto"


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column of values; in each row the first of `oids` that has a cell counts."""

    metric: Metric
    oids: tuple[str, ...]
    #: Further columns that `compute` wants.
    needs: tuple[str, ...] = ()
    compute: Compute | None = None
    scale: float = 1.0
    offset: float = 0.0
    is_rate: bool = False
    counter_bits: CounterBits = "auto"
    numbers: Mapping[str, float] = field(default_factory=dict)
    read: Reader = number_of
    #: Words to report as states, by what the cells say.
    states: Mapping[str, str] = field(default_factory=dict)
    #: How octets look to `numbers` and `states`.
    display: Display = "auto"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns that share an index, which is the first label unless `index_label` is empty."""

    index_label: str
    labels: tuple[LabelColumn, ...]
    columns: tuple[ValueColumn, ...]
    #: Labels that all rows share, behind those of the row.
    shared_labels: tuple[str, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels of a row, in order."""
        index = (self.index_label,) if self.index_label else ()
        return (*index, *(column.name for column in self.labels), *self.shared_labels)


def is_up(state: float, _: Sequence[float | None]) -> float:
    """Return 1 for the state `up` of IF-MIB, 0 for all others."""
    return float(state == 1)


def times_units(value: float, needed: Sequence[float | None]) -> float | None:
    """Return bytes from allocation units of HOST-RESOURCES-MIB.

    The number of units is a signed 32-bit integer; net-snmp lets it overflow into the negative.
    """
    [unit_bytes] = needed
    return None if unit_bytes is None else (value % (1 << 32)) * unit_bytes


def scaled_sensor(value: float, needed: Sequence[float | None]) -> float | None:
    """Return a sensor's value in its base unit; None while the sensor does not work.

    Scale 9 stands for units, 8 for thousandths, 10 for thousands (EntitySensorDataScale).
    """
    scale, precision, status = needed
    if status not in (None, 1):
        return None
    exponent = 3 * (int(scale or 9) - 9) - int(precision or 0)
    return round(value * 10.0**exponent, 9)


def percent_of(value: float, needed: Sequence[float | None]) -> float | None:
    """Return percent of a capacity; None for what the printer cannot tell, said in negatives."""
    [capacity] = needed
    return None if value < 0 or not capacity or capacity < 0 else 100 * value / capacity


def has_some(level: float, _: Sequence[float | None]) -> float | None:
    """Return 1 while there is some of a supply, 0 when there is none; None where that is unknown.

    A printer that cannot measure says -3 for some, -2 for unknown and -1 for no limit.
    """
    return None if level in (-1, -2) else float(level != 0)


def _interface(
    name: str, help: str, *objects: str, unit: str = "", headline: Headline | bool = False
) -> ValueColumn:
    metric = Metric(
        name,
        help=help,
        unit=unit,
        kind=Kind.COUNTER,
        labels=("index", "interface", "alias"),
        headline=headline,
    )
    return ValueColumn(metric, tuple(OBJECTS[name] for name in objects))


def _interface_gauge(
    name: str, help: str, column: str, *, unit: str = "", scale: float = 1, up: bool = False
) -> ValueColumn:
    metric = Metric(
        name,
        help=help,
        unit=unit,
        labels=("index", "interface", "alias"),
        panel=YES_NO if up else None,
    )
    return ValueColumn(metric, (OBJECTS[column],), compute=is_up if up else None, scale=scale)


INTERFACES = Table(
    "index",
    (
        LabelColumn("interface", (OBJECTS["ifName"], OBJECTS["ifDescr"])),
        LabelColumn("alias", (OBJECTS["ifAlias"],)),
    ),
    (
        _interface(
            "in_bytes",
            "Bytes received.",
            "ifHCInOctets",
            "ifInOctets",
            unit="bytes",
            headline=Headline("received"),
        ),
        _interface(
            "out_bytes",
            "Bytes sent.",
            "ifHCOutOctets",
            "ifOutOctets",
            unit="bytes",
            headline=Headline("sent"),
        ),
        _interface("in_packets", "Unicast packets received.", "ifHCInUcastPkts", "ifInUcastPkts"),
        _interface("out_packets", "Unicast packets sent.", "ifHCOutUcastPkts", "ifOutUcastPkts"),
        _interface("in_errors", "Packets received that were broken.", "ifInErrors"),
        _interface("out_errors", "Packets that could not be sent.", "ifOutErrors"),
        _interface("in_discards", "Sound packets received and dropped.", "ifInDiscards"),
        _interface("out_discards", "Sound packets dropped instead of sent.", "ifOutDiscards"),
        _interface_gauge("up", "1 while the interface can pass packets.", "ifOperStatus", up=True),
        _interface_gauge(
            "admin_up", "1 while the interface is switched on.", "ifAdminStatus", up=True
        ),
        _interface_gauge(
            "speed_bits_per_second",
            "Speed of the interface in bits per second.",
            "ifHighSpeed",
            unit="bits per second",
            scale=1e6,
        ),
    ),
)


def _storage(name: str, help: str, column: str) -> ValueColumn:
    return ValueColumn(
        Metric(
            name,
            help=help,
            unit="bytes",
            labels=("index", "storage"),
            headline=name == "used_bytes",
        ),
        (OBJECTS[column],),
        needs=(OBJECTS["hrStorageAllocationUnits"],),
        compute=times_units,
    )


STORAGE = Table(
    "index",
    (LabelColumn("storage", (OBJECTS["hrStorageDescr"],)),),
    (
        _storage("size_bytes", "Size of a disk or of memory in bytes.", "hrStorageSize"),
        _storage("used_bytes", "Bytes in use of a disk or of memory.", "hrStorageUsed"),
    ),
)

#: EntitySensorDataType.
_SENSOR_UNITS = {
    "1": "other", "2": "unknown", "3": "volts_ac", "4": "volts_dc", "5": "amperes", "6": "watts",
    "7": "hertz", "8": "celsius", "9": "percent_humidity", "10": "rpm", "11": "cmm", "12": "bool",
}  # fmt: skip

SENSORS = Table(
    "index",
    (
        LabelColumn("sensor", (OBJECTS["entPhysicalName"], OBJECTS["entPhysicalDescr"])),
        LabelColumn("unit", (OBJECTS["entPhySensorType"],), _SENSOR_UNITS),
    ),
    (
        ValueColumn(
            Metric(
                "sensor",
                help="Value of a sensor in the unit of its label.",
                labels=("index", "sensor", "unit"),
                headline=True,
            ),
            (OBJECTS["entPhySensorValue"],),
            needs=(
                OBJECTS["entPhySensorScale"],
                OBJECTS["entPhySensorPrecision"],
                OBJECTS["entPhySensorOperStatus"],
            ),
            compute=scaled_sensor,
        ),
    ),
)


def _ups(
    name: str, help: str, column: str, *, unit: str = "", scale: float = 1, **hints: Any
) -> ValueColumn:
    return ValueColumn(Metric(name, help=help, unit=unit, **hints), (OBJECTS[column],), scale=scale)


def _line(
    name: str, help: str, column: str, *, unit: str = "", scale: float = 1, **hints: Any
) -> ValueColumn:
    metric = Metric(name, help=help, unit=unit, labels=("line",), **hints)
    return ValueColumn(metric, (OBJECTS[column],), scale=scale)


UPS = (
    Table(
        "",
        (),
        (
            _ups(
                "battery_status",
                "State of the battery: 1 unknown, 2 normal, 3 low, 4 depleted.",
                "upsBatteryStatus",
                panel=Panel(
                    states={1: "unknown", 2: "normal", 3: "low", 4: "depleted"},
                    good=(2,),
                    bad=(3, 4),
                ),
                alert=Alert("UpsBatteryLow", "the battery of the UPS is nearly empty", above=2),
            ),
            _ups(
                "on_battery_seconds",
                "Seconds since the input failed, 0 while it is there.",
                "upsSecondsOnBattery",
                unit="seconds",
                alert=Alert("UpsOnBattery", "the UPS runs on its battery", above=0),
            ),
            _ups(
                "runtime_remaining_seconds",
                "Seconds until the battery is empty at the present load.",
                "upsEstimatedMinutesRemaining",
                unit="seconds",
                scale=60,
                headline=Headline("lasts for"),
            ),
            _ups(
                "battery_charge_percent",
                "Charge of the battery in percent.",
                "upsEstimatedChargeRemaining",
                unit="percent",
                headline=Headline("charge"),
                panel=Panel(minimum=0, maximum=100),
            ),
            _ups(
                "battery_voltage_volts",
                "Voltage of the battery in volts.",
                "upsBatteryVoltage",
                unit="volts",
                scale=0.1,
            ),
            _ups(
                "battery_temperature_celsius",
                "Temperature of the battery in degrees Celsius.",
                "upsBatteryTemperature",
                unit="celsius",
            ),
            _ups(
                "output_source",
                "Where the output comes from: 1 other, 2 none, 3 normal, 4 bypass, 5 battery, "
                "6 booster, 7 reducer.",
                "upsOutputSource",
                panel=Panel(
                    states={
                        1: "other",
                        2: "none",
                        3: "normal",
                        4: "bypass",
                        5: "battery",
                        6: "booster",
                        7: "reducer",
                    },
                    good=(3,),
                    bad=(2, 5),
                ),
            ),
            _ups(
                "alarms",
                "Alarms present.",
                "upsAlarmsPresent",
                alert=Alert("UpsAlarm", "the UPS reports an alarm", above=0),
            ),
        ),
    ),
    Table(
        "line",
        (),
        (
            _line(
                "input_frequency_hertz",
                "Frequency of an input line in hertz.",
                "upsInputFrequency",
                unit="hertz",
                scale=0.1,
            ),
            _line(
                "input_voltage_volts",
                "Voltage of an input line in volts.",
                "upsInputVoltage",
                unit="volts",
            ),
        ),
    ),
    Table(
        "line",
        (),
        (
            _line(
                "output_voltage_volts",
                "Voltage of an output line in volts.",
                "upsOutputVoltage",
                unit="volts",
            ),
            _line(
                "output_power_watts",
                "Power taken from an output line in watts.",
                "upsOutputPower",
                unit="watts",
            ),
            _line(
                "output_load_percent",
                "Load of an output line in percent of its capacity.",
                "upsOutputPercentLoad",
                unit="percent",
                headline=Headline("load"),
                alert=Alert(
                    "UpsOverloaded",
                    "the UPS has little capacity left",
                    above=90,
                    lasting_seconds=600,
                ),
            ),
        ),
    ),
)


def _percent(
    name: str, help: str, column: str, capacity: str, label: str, **hints: Any
) -> ValueColumn:
    return ValueColumn(
        Metric(name, help=help, unit="percent", labels=("index", label), **hints),
        (OBJECTS[column],),
        needs=(OBJECTS[capacity],),
        compute=percent_of,
    )


PRINTER = (
    Table(
        "index",
        (LabelColumn("supply", (OBJECTS["prtMarkerSuppliesDescription"],)),),
        (
            _percent(
                "supply_remaining_percent",
                "What is left of toner or ink, or the room left for waste, in percent.",
                "prtMarkerSuppliesLevel",
                "prtMarkerSuppliesMaxCapacity",
                "supply",
                headline=True,
                panel=Panel(minimum=0, maximum=100),
            ),
            ValueColumn(
                Metric(
                    "supply_present",
                    help="1 while there is some of a supply, 0 when it has run out.",
                    labels=("index", "supply"),
                    panel=YES_IS_GOOD,
                    alert=Alert(
                        "PrinterSupplyEmpty", "a supply of the printer has run out", below=1
                    ),
                ),
                (OBJECTS["prtMarkerSuppliesLevel"],),
                compute=has_some,
            ),
        ),
    ),
    Table(
        "index",
        (LabelColumn("tray", (OBJECTS["prtInputName"], OBJECTS["prtInputDescription"])),),
        (
            _percent(
                "tray_remaining_percent",
                "Paper left in a tray in percent.",
                "prtInputCurrentLevel",
                "prtInputMaxCapacity",
                "tray",
                panel=Panel(minimum=0, maximum=100),
            ),
            ValueColumn(
                Metric(
                    "tray_present",
                    help="1 while there is paper in a tray, 0 when it is empty.",
                    labels=("index", "tray"),
                    panel=YES_IS_GOOD,
                ),
                (OBJECTS["prtInputCurrentLevel"],),
                compute=has_some,
            ),
        ),
    ),
    Table(
        "index",
        (),
        (
            ValueColumn(
                Metric(
                    "impressions",
                    help="Impressions printed in the life of the printer.",
                    kind=Kind.COUNTER,
                    labels=("index",),
                    headline=Headline("printed", total=True),
                ),
                (OBJECTS["prtMarkerLifeCount"],),
            ),
        ),
    ),
    Table(
        "index",
        (),
        (
            ValueColumn(
                Metric(
                    "status",
                    help="State of the printer: 1 other, 2 unknown, 3 idle, 4 printing, 5 warmup.",
                    labels=("index",),
                    headline=Headline("printer"),
                    panel=Panel(
                        states={1: "other", 2: "unknown", 3: "idle", 4: "printing", 5: "warming up"}
                    ),
                ),
                (OBJECTS["hrPrinterStatus"],),
            ),
        ),
    ),
)

PRESETS: dict[str, tuple[Table, ...]] = {
    "interfaces": (INTERFACES,),
    "storage": (STORAGE,),
    "ups": UPS,
    "sensors": (SENSORS,),
    "printer": PRINTER,
}
