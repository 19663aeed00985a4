"""What the state of a Homematic IP home becomes.

The state names devices with functional channels, and groups; a group of type META is a room. Only
the fields that are needed are read: new devices and groups come with every update of the cloud.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pollect.api import (
    DETAIL,
    YES_IS_BAD,
    YES_IS_GOOD,
    YES_NO,
    Alert,
    Headline,
    Kind,
    Metric,
    Panel,
    Sample,
)
from pollect.support.distinct import Named, tell_apart

Channel: TypeAlias = Mapping[str, Any]

#: Channels of the devices on the wall of a room, which decide on its temperature.
THERMOSTATS = frozenset(
    {"WALL_MOUNTED_THERMOSTAT_PRO_CHANNEL", "WALL_MOUNTED_THERMOSTAT_WITH_CARBON_CHANNEL"}
)

_PANELS = {
    **dict.fromkeys(("raining", "storm", "sunny", "window_open"), YES_NO),
    **dict.fromkeys(("low_battery", "unreachable"), YES_IS_BAD),
    "valve_position": Panel(minimum=0, maximum=1),
}
_ALERTS = {
    "low_battery": Alert("DeviceBatteryLow", "the battery of a device is low", above=0),
    "unreachable": Alert(
        "DeviceUnreachable", "a device cannot be reached", above=0, lasting_seconds=3600
    ),
}

_ROOM = ("room",)
_OF_DEVICE = ("room", "device")

TARGET = Metric(
    "temperature_target", help="Target temperature of the room.", unit="celsius", labels=_ROOM
)
TEMPERATURE = Metric(
    "temperature",
    help="Temperature of the room.",
    unit="celsius",
    labels=_ROOM,
    headline=Headline(""),
)
HUMIDITY = Metric(
    "humidity",
    help="Relative humidity of the room in percent.",
    unit="percent",
    labels=_ROOM,
    headline=Headline("humidity"),
)
#: Field of a thermostat -> its metric.
ROOM_METRICS: Mapping[str, Metric] = {
    "setPointTemperature": TARGET,
    "actualTemperature": TEMPERATURE,
    "humidity": HUMIDITY,
}


def _of_device(name: str, help: str, unit: str = "", kind: Kind = Kind.GAUGE) -> Metric:
    panel = _PANELS.get(name, Panel()).needing("details")
    return Metric(
        name,
        help=help,
        unit=unit,
        kind=kind,
        labels=_OF_DEVICE,
        panel=panel,
        alert=_ALERTS.get(name, ()),
    )


#: Fields of any channel -> what `details` makes of them.
FIELDS: Mapping[str, Metric] = {
    "actualTemperature": _of_device("device_temperature", "Temperature at the device.", "celsius"),
    "humidity": _of_device(
        "device_humidity", "Relative humidity at the device in percent.", "percent"
    ),
    "vaporAmount": _of_device("vapor_amount", "Water in the air in grams per m³.", "g/m³"),
    "valvePosition": _of_device("valve_position", "Opening of the valve, 0 to 1.", "ratio"),
    "valveActualTemperature": _of_device(
        "valve_temperature", "Temperature at the valve.", "celsius"
    ),
    "currentPowerConsumption": _of_device("power", "Power in watts.", "watts"),
    "energyCounter": _of_device("energy", "Energy in kWh.", "kWh", Kind.COUNTER),
    "carbonDioxideConcentration": _of_device("co2", "Carbon dioxide in parts per million.", "ppm"),
    "illumination": _of_device("illumination", "Illumination in lux.", "lux"),
    "currentIllumination": _of_device(
        "current_illumination", "Illumination at the moment in lux.", "lux"
    ),
    "windSpeed": _of_device("wind_speed", "Speed of the wind in km/h.", "km/h"),
    "windDirection": _of_device("wind_direction", "Direction of the wind in degrees.", "°"),
    "totalRainCounter": _of_device(
        "rain", "Rain since the start of counting in mm.", "mm", Kind.COUNTER
    ),
    "todayRainCounter": _of_device("rain_today", "Rain of today in mm.", "mm"),
    "totalSunshineDuration": _of_device(
        "sunshine", "Sunshine since the start of counting in minutes.", "minutes", Kind.COUNTER
    ),
    "raining": _of_device("raining", "Whether it rains."),
    "storm": _of_device("storm", "Whether there is a storm."),
    "sunshine": _of_device("sunny", "Whether the sun shines."),
    "lowBat": _of_device("low_battery", "Whether the battery is low."),
    "unreach": _of_device("unreachable", "Whether the device cannot be reached."),
    "rssiDeviceValue": _of_device("rssi_device", "Strength of the device's signal in dBm.", "dBm"),
}
WINDOW_OPEN = _of_device("window_open", "Whether the window is open or tilted.")
WINDOW_STATES = {"OPEN": 1.0, "TILTED": 1.0, "CLOSED": 0.0}
PARTICULATE_MASS = Metric(
    "particulate_mass",
    help="Particulate matter up to this size in µg per m³.",
    unit="µg/m³",
    labels=(*_OF_DEVICE, "size"),
    panel=DETAIL,
)
PARTICULATE_FIELDS = {
    "particulateMassConcentrationOne": "1",
    "particulateMassConcentrationTwoPointFive": "2.5",
    "particulateMassConcentrationTen": "10",
}
DUTY_CYCLE = Metric(
    "duty_cycle",
    help="Air time that the access point has used in percent.",
    unit="percent",
    panel=DETAIL,
)
CONNECTED = Metric(
    "access_point_connected",
    help="Whether the access point is connected to the cloud.",
    panel=YES_IS_GOOD.needing("details"),
)

METRICS = (
    *ROOM_METRICS.values(),
    *FIELDS.values(),
    WINDOW_OPEN,
    PARTICULATE_MASS,
    DUTY_CYCLE,
    CONNECTED,
)


@dataclass(frozen=True)
class Room:
    """A room, and the devices in it by id."""

    label: str
    devices: Mapping[str, Mapping[str, Any]]


def room_label(name: str) -> str:
    """Return the name of a room as 1.x wrote it."""
    name = name.lower()
    for letter, plain in (("ä", "ae"), ("ü", "ue"), ("ö", "oe"), (" ", "_")):
        name = name.replace(letter, plain)
    return name


def parse_rooms(state: Mapping[str, Any]) -> list[Room]:
    """Return the rooms of a home; two of one name are one."""
    devices = _objects(state.get("devices"))
    rooms: dict[str, dict[str, Mapping[str, Any]]] = {}
    for _, group in sorted(_objects(state.get("groups")).items()):
        name = group.get("label")
        if group.get("type") != "META" or not isinstance(name, str):
            continue
        inside = rooms.setdefault(room_label(name), {})
        channels = group.get("channels")
        for channel in channels if isinstance(channels, list) else ():
            identity = channel.get("deviceId") if isinstance(channel, Mapping) else None
            if isinstance(identity, str) and identity in devices:
                inside[identity] = devices[identity]
    return [Room(label, inside) for label, inside in rooms.items()]


def parse_climate(room: Room) -> tuple[list[Sample], list[str]]:
    """Return the values of a room, and the ids of its thermostats; the lowest id wins."""
    found: dict[str, list[Sample]] = {}
    for identity, device in room.devices.items():
        for channel in _channels(device).values():
            if str(channel.get("functionalChannelType")) not in THERMOSTATS:
                continue
            values = ((metric, _number(channel.get(key))) for key, metric in ROOM_METRICS.items())
            samples = [m.sample(value, room.label) for m, value in values if value is not None]
            if samples:
                found.setdefault(identity, samples)
    thermostats = sorted(found)
    return (found[thermostats[0]] if thermostats else []), thermostats


def parse_details(state: Mapping[str, Any], rooms: list[Room]) -> Iterator[Sample]:
    """Yield the values of every device and of the access point."""
    places = {identity: room.label for room in rooms for identity in room.devices}
    names = _device_names(state)
    for identity, device in sorted(_objects(state.get("devices")).items()):
        others = set(names.values())
        yield from _parse_device(device, places.get(identity, ""), names[identity], others)
    home = state.get("home")
    home = home if isinstance(home, Mapping) else {}
    duty_cycle = _number(home.get("dutyCycle"))
    if duty_cycle is not None:
        yield DUTY_CYCLE.sample(duty_cycle)
    if isinstance(home.get("connected"), bool):
        yield CONNECTED.sample(float(home["connected"]))


def find_problems(state: Mapping[str, Any], rooms: list[Room], *, details: bool) -> dict[str, str]:
    """Return what cannot be read of the values that are shown, by the name of the device."""
    devices = state.get("devices")
    devices = devices if isinstance(devices, Mapping) else {}
    inside = {identity for room in rooms for identity in room.devices}
    names = _device_names(state)
    found = _find_problems_of_groups(state.get("groups"))
    home = state.get("home")
    duty_cycle = home.get("dutyCycle") if isinstance(home, Mapping) else None
    if details and duty_cycle is not None and _number(duty_cycle) is None:
        found["home"] = f"dutyCycle: expected a number, got {duty_cycle!r:.40}"
    for identity, device in devices.items():
        if not isinstance(device, Mapping):
            found[str(identity)] = f"expected an object, got {device!r:.60}"
            continue
        problems = []
        if not isinstance(device.get("functionalChannels"), Mapping) and (
            details or identity in inside
        ):
            channels = device.get("functionalChannels")
            problems.append(f"functionalChannels: expected an object, got {channels!r:.40}")
        for channel in _channels(device).values():
            fields = {*FIELDS, *PARTICULATE_FIELDS} if details else set()
            if identity in inside and str(channel.get("functionalChannelType")) in THERMOSTATS:
                fields.update(ROOM_METRICS)
            problems += [
                f"{field}: expected a number, got {channel[field]!r:.40}"
                for field in sorted(fields)
                # What the device does not measure, or not yet, is null.
                if channel.get(field) is not None and _number(channel[field]) is None
            ]
            window = channel.get("windowState")
            if details and window is not None and str(window) not in WINDOW_STATES:
                problems.append(
                    f"windowState: expected one of {', '.join(WINDOW_STATES)}, got {window!r:.40}"
                )
        if problems:
            found[names[str(identity)]] = "; ".join(problems)
    return found


def _find_problems_of_groups(groups: object) -> dict[str, str]:
    if not isinstance(groups, Mapping):
        return {"groups": f"expected an object, got {groups!r:.60}"}
    found = {}
    for identity, group in groups.items():
        if not isinstance(group, Mapping):
            found[f"group {identity}"] = f"expected an object, got {group!r:.60}"
        elif group.get("type") == "META":
            label, channels = group.get("label"), group.get("channels")
            if not isinstance(label, str):
                found[f"group {identity}"] = f"label: expected a text, got {label!r:.40}"
            elif channels is not None and not isinstance(channels, list):
                found[f"group {identity}"] = f"channels: expected a list, got {channels!r:.40}"
    return found


def _parse_device(
    device: Mapping[str, Any], room: str, name: str, others: Collection[str]
) -> Iterator[Sample]:
    """Yield the values of all channels of a device.

    The first channel with a value has the name of the device, each further one, as of a strip of
    sockets or a bar of valves, its number behind it: `Strip (2)`.
    """
    seen: set[str] = set()
    for index, channel in sorted(_channels(device).items(), key=_position):
        names = {True: name, False: f"{name} ({index})"}
        while names[False] in others:
            names[False] += f" ({index})"
        for key, metric in FIELDS.items():
            value = _number(channel.get(key))
            if value is not None:
                yield metric.sample(value, room, names[key not in seen])
                seen.add(key)
        window = WINDOW_STATES.get(str(channel.get("windowState")))
        if window is not None:
            yield WINDOW_OPEN.sample(window, room, names["windowState" not in seen])
            seen.add("windowState")
        for key, size in PARTICULATE_FIELDS.items():
            value = _number(channel.get(key))
            if value is not None:
                yield PARTICULATE_MASS.sample(value, room, names[key not in seen], size)
                seen.add(key)


def _position(item: tuple[str, Channel]) -> tuple[int, str]:
    index = item[0]
    return (int(index) if index.isdecimal() and len(index) < 10 else -1, index)


def _device_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Return a name for each device: its label, with the end of its id where two share one."""
    devices = _objects(state.get("devices"))
    labels = {
        identity: str(device.get("label") or identity) for identity, device in devices.items()
    }
    # In the same order every time, whatever that of the answer.
    things = [Named(label, identity) for identity, label in sorted(labels.items())]
    names = tell_apart(things, "{} ({})".format, first_keeps=False)
    return {str(thing.identity): name for thing, name in zip(things, names, strict=True)}


def _objects(value: object) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return {}
    return {str(key): item for key, item in value.items() if isinstance(item, Mapping)}


def _channels(device: Mapping[str, Any]) -> dict[str, Channel]:
    return _objects(device.get("functionalChannels"))


def _number(value: object) -> float | None:
    """Return a finite number or a boolean as a number; None for anything else."""
    if not isinstance(value, bool | int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
