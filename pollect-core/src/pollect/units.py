"""The units of the project: the words a metric may declare, and what each is elsewhere.

One table for all: symbols for people and for Home Assistant, UCUM for OTLP
(https://ucum.org/ucum), the units of Grafana, and the device classes of Home Assistant's sensors
(only where it accepts the symbol together with the class: it drops an entity otherwise).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pollect.model import Metric

#: A label of this name says the unit of each series of a metric that declares none.
UNIT_LABEL = "unit"


class Unit(NamedTuple):
    """One unit. Empty where there is nothing to say."""

    #: As people write it behind a number: `°C`, `B/s`, `ms`.
    symbol: str
    #: As OTLP wants it.
    ucum: str
    #: Id of the unit in Grafana's field options.
    grafana: str = "short"
    #: Of a sensor of Home Assistant.
    device_class: str = ""

    @property
    def is_count(self) -> bool:
        """Whether it only names what is counted: `processes`."""
        return self.ucum.startswith("{")


_AMOUNTS: Mapping[str, Unit] = {
    "amperes": Unit("A", "A", "amp", "current"),
    "milliamperes": Unit("mA", "mA", "mamp", "current"),
    "volts": Unit("V", "V", "volt", "voltage"),
    "millivolts": Unit("mV", "mV", "mvolt", "voltage"),
    "watts": Unit("W", "W", "watt", "power"),
    "milliwatts": Unit("mW", "mW", "mwatt", "power"),
    "kilowatts": Unit("kW", "kW", "kwatt", "power"),
    "voltamperes": Unit("VA", "V.A", "voltamp", "apparent_power"),
    "voltamperes_reactive": Unit("var", "V.A{reactive}", "voltampreact", "reactive_power"),
    "joules": Unit("J", "J", "joule", "energy"),
    "watt_hours": Unit("Wh", "W.h", "watth", "energy"),
    "kilowatt_hours": Unit("kWh", "kW.h", "kwatth", "energy"),
    "megawatt_hours": Unit("MWh", "MW.h", "none", "energy"),
    "kilovoltampere_hours": Unit("kVAh", "kV.A.h", "none"),
    "kilovoltampere_hours_reactive": Unit("kvarh", "kV.A{reactive}.h", "none"),
    "ohms": Unit("Ω", "Ohm", "ohm"),
    "hertz": Unit("Hz", "Hz", "hertz", "frequency"),
    "kilohertz": Unit("kHz", "kHz", "rotkhz", "frequency"),
    "megahertz": Unit("MHz", "MHz", "rotmhz", "frequency"),
    "gigahertz": Unit("GHz", "GHz", "rotghz", "frequency"),
    "celsius": Unit("°C", "Cel", "celsius", "temperature"),
    "fahrenheit": Unit("°F", "[degF]", "fahrenheit", "temperature"),
    "kelvin": Unit("K", "K", "kelvin", "temperature"),
    "pascals": Unit("Pa", "Pa", "pressurepa", "pressure"),
    "hectopascals": Unit("hPa", "hPa", "pressurehpa", "pressure"),
    "bars": Unit("bar", "bar", "pressurebar", "pressure"),
    "millibars": Unit("mbar", "mbar", "pressurembar", "pressure"),
    "seconds": Unit("s", "s", "s", "duration"),
    "milliseconds": Unit("ms", "ms", "ms", "duration"),
    "microseconds": Unit("µs", "us", "µs"),
    "minutes": Unit("min", "min", "m", "duration"),
    "hours": Unit("h", "h", "h", "duration"),
    "days": Unit("d", "d", "d", "duration"),
    "bits": Unit("bit", "bit", "bits", "data_size"),
    "bytes": Unit("B", "By", "bytes", "data_size"),
    "kilobytes": Unit("kB", "kBy", "deckbytes", "data_size"),
    "megabytes": Unit("MB", "MBy", "decmbytes", "data_size"),
    "gigabytes": Unit("GB", "GBy", "decgbytes", "data_size"),
    "mebibytes": Unit("MiB", "MiBy", "mbytes", "data_size"),
    "gibibytes": Unit("GiB", "GiBy", "gbytes", "data_size"),
    "bytes_per_second": Unit("B/s", "By/s", "binBps", "data_rate"),
    "kilobytes_per_second": Unit("kB/s", "kBy/s", "KBs", "data_rate"),
    "megabytes_per_second": Unit("MB/s", "MBy/s", "MBs", "data_rate"),
    "bits_per_second": Unit("bit/s", "bit/s", "bps", "data_rate"),
    "kilobits_per_second": Unit("kbit/s", "kbit/s", "Kbits", "data_rate"),
    "megabits_per_second": Unit("Mbit/s", "Mbit/s", "Mbits", "data_rate"),
    "ratio": Unit("", "1", "percentunit"),
    "percent": Unit("%", "%", "percent"),
    "percent_humidity": Unit("%", "%", "humidity", "humidity"),
    "decibels": Unit("dB", "dB", "dB", "signal_strength"),
    "decibel_milliwatts": Unit("dBm", "dB[mW]", "dBm", "signal_strength"),
    "metres": Unit("m", "m", "lengthm", "distance"),
    "millimetres": Unit("mm", "mm", "lengthmm", "distance"),
    "kilometres": Unit("km", "km", "lengthkm", "distance"),
    "metres_per_second": Unit("m/s", "m/s", "velocityms", "speed"),
    "kilometres_per_hour": Unit("km/h", "km/h", "velocitykmh", "speed"),
    "degrees": Unit("°", "deg", "degree"),
    "lux": Unit("lx", "lx", "lux", "illuminance"),
    "watts_per_square_metre": Unit("W/m²", "W/m2", "Wm2", "irradiance"),
    "cubic_metres": Unit("m³", "m3", "m3"),
    "litres": Unit("L", "L", "litre"),
    "cubic_metres_per_hour": Unit("m³/h", "m3/h", "none", "volume_flow_rate"),
    "litres_per_hour": Unit("L/h", "L/h", "flowlph"),
    "litres_per_minute": Unit("L/min", "L/min", "flowlpm", "volume_flow_rate"),
    "grams": Unit("g", "g", "massg", "weight"),
    "kilograms": Unit("kg", "kg", "masskg", "weight"),
    "grams_per_kilowatt_hour": Unit("g/kWh", "g/kW.h", "none"),
    "parts_per_million": Unit("ppm", "[ppm]", "ppm"),
    "micrograms_per_cubic_metre": Unit("µg/m³", "ug/m3", "conμgm3"),
    "grams_per_cubic_metre": Unit("g/m³", "g/m3", "congm3"),
    "revolutions_per_minute": Unit("rpm", "{revolution}/min", "rotrpm"),
    "euros": Unit("EUR", "{EUR}", "currencyEUR"),
    "dollars": Unit("USD", "{USD}", "currencyUSD"),
}

#: What is counted, with the singular that UCUM puts in braces.
_COUNTS: Mapping[str, str] = {
    "accounts": "account",
    "clients": "client",
    "cores": "core",
    "cycles": "cycle",
    "devices": "device",
    "disks": "disk",
    "errors": "error",
    "events": "event",
    "files": "file",
    "frames": "frame",
    "inodes": "inode",
    "items": "item",
    "messages": "message",
    "operations": "operation",
    "packets": "packet",
    "pages": "page",
    "processes": "process",
    "queries": "query",
    "readings": "reading",
    "requests": "request",
    "sectors": "sector",
    "sessions": "session",
    "steps": "step",
    "tasks": "task",
    "threads": "thread",
    "users": "user",
}

#: Other spellings, which devices prescribe or which plugins had before: not for new metrics.
_ALIASES: Mapping[str, str] = {
    "C": "celsius",
    "F": "fahrenheit",
    "RPM": "revolutions_per_minute",
    "rpm": "revolutions_per_minute",
    "%RH": "percent_humidity",
    "bits per second": "bits_per_second",
    "bytes per second": "bytes_per_second",
    "kilometers": "kilometres",
    "meters": "metres",
    "l": "litres",
    "l/min": "litres_per_minute",
    "lx": "lux",
    "m3": "cubic_metres",
    "m3/h": "cubic_metres_per_hour",
    "volts_ac": "volts",
    "volts_dc": "volts",
    "€": "euros",
}
_RATES: Mapping[str, Unit] = {
    f"{word}_per_second": Unit(
        f"{word}/s",
        f"{{{one}}}/s",
        {"packets": "pps", "operations": "ops", "requests": "reqps"}.get(word, "cps"),
    )
    for word, one in _COUNTS.items()
}

#: By the word a metric declares.
UNITS: Final[Mapping[str, Unit]] = {
    **_AMOUNTS,
    **{word: Unit(word, f"{{{one}}}") for word, one in _COUNTS.items()},
    **_RATES,
}
_BY_SYMBOL = {unit.symbol: word for word, unit in reversed(list(_AMOUNTS.items())) if unit.symbol}


def unit_word(text: str) -> str:
    """Return the word of the table for a unit in any spelling; the text itself if there is none."""
    return text if text in UNITS else _ALIASES.get(text) or _BY_SYMBOL.get(text, text)


def find_unit(text: str) -> Unit | None:
    """Return the unit that a declared word, a symbol (`kWh`) or another spelling means, if any."""
    return UNITS.get(unit_word(text))


def describe_unit(text: str) -> Unit:
    """Return what is known of a unit; one that is not in the table is a symbol of its own."""
    annotation = "".join(c for c in text if "!" <= c <= "~" and c not in "{}")
    return find_unit(text) or Unit(text, f"{{{annotation}}}" if annotation else "")


def unit_of(metric: Metric, label_values: Sequence[str]) -> str:
    """Return the unit of one series.

    It is the declared one, or else what its label `unit` says, for metrics whose series differ
    in unit, such as those of a chip of sensors.
    """
    if metric.unit or UNIT_LABEL not in metric.labels:
        return metric.unit
    return label_values[metric.labels.index(UNIT_LABEL)]
