"""The state of evcc as samples. Pure; what is missing or of another type yields no value.

The format is that of `/api/state` (evcc-io/evcc, `server/http_site_handler.go`): one object,
wrapped in `result` by versions before 0.207. Keys as 1.x knew them from the websocket, such as
`loadpoints.0.title`, mean the same as those in the list `loadpoints`. The maker promises no stable
keys.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pollect.api import Metric, Sample
from pollect.support.distinct import Named, tell_apart
from pollect_sources_home.evcc.metrics import (
    DEVICE_POWER,
    DEVICE_SOC,
    GRID_PHASE_CURRENT,
    GRID_PHASE_POWER,
    INFO,
    LOADPOINT_MODE,
    MODES,
    MOVED_KEYS,
    NUMBERS,
    PHASE_CURRENT,
    PHASE_VOLTAGE,
    PV_POWER,
    loadpoint_metric,
    site_metric,
    statistics_metric,
)
from pollect_sources_home.numbers import json_number

State = Mapping[str, Any]

_LOADPOINTS = "loadpoints"
_FLAT_KEY = re.compile(rf"{_LOADPOINTS}\.(\d{{1,4}})\.(.+)", re.DOTALL | re.ASCII)


def unwrap(answer: object) -> State | None:
    """Return the state in an answer, None if there is none."""
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        answer = answer["result"]
    return answer if isinstance(answer, dict) else None


def parse_site(state: State) -> Iterator[Sample]:
    """Yield the values of the whole site, those under their old names included."""
    for key, value in state.items():
        number = json_number(value)
        if number is not None and not key.startswith(f"{_LOADPOINTS}."):
            yield site_metric(key).sample(number)
    for key, (parent, inner) in MOVED_KEYS.items():
        if json_number(state.get(key)) is None:
            number = json_number(_object(state.get(parent)).get(inner))
            if number is not None:
                yield site_metric(key).sample(number)


def find_loadpoints(state: State) -> list[tuple[str, State]]:
    """Return the loadpoints, each with a title that no other has."""
    found: dict[int, dict[str, Any]] = {
        number: dict(loadpoint)
        for number, loadpoint in enumerate(_list(state.get(_LOADPOINTS)))
        if isinstance(loadpoint, dict)
    }
    for key, value in state.items():
        match = _FLAT_KEY.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    numbers = sorted(found)
    titles = distinct(
        (number, _text(found[number].get("title")) or f"loadpoint {number + 1}")
        for number in numbers
    )
    return [(title, found[number]) for number, title in zip(numbers, titles, strict=True)]


def find_problems(state: State, *, details: bool) -> list[str]:
    """Return what should be a number, a list of devices, or a device of one, and is not.

    Of the keys that are unknown here none is expected to be a number.
    """
    problems = list(_unreadable("", state, NUMBERS))
    for parent, inner in MOVED_KEYS.values():
        problems += _unreadable(f"{parent}.", _object(state.get(parent)), (inner,))
    for number, (_, loadpoint) in enumerate(find_loadpoints(state)):
        problems += _unreadable(f"{_LOADPOINTS}[{number}].", loadpoint, NUMBERS)
    for key in (_LOADPOINTS, "pv", "battery") if details else (_LOADPOINTS,):
        found = state.get(key)
        if key == "battery" and isinstance(found, Mapping):
            found = found.get("devices")
        if isinstance(found, list):
            for number, each in enumerate(found):
                if not isinstance(each, Mapping):
                    problems.append(f"{key}[{number}]: expected an object, got {each!r:.60}")
                elif key != _LOADPOINTS:
                    problems += _unreadable(f"{key}[{number}].", each, ("power", "soc"))
        elif found is not None and not isinstance(found, int | float):
            problems.append(f"{key}: expected a list, got {found!r:.60}")
    return problems + (_find_problems_of_details(state) if details else [])


def _find_problems_of_details(state: State) -> list[str]:
    lists = {
        f"{_LOADPOINTS}[{number}].{key}": loadpoint.get(key)
        for number, (_, loadpoint) in enumerate(find_loadpoints(state))
        for key in ("chargeCurrents", "chargeVoltages")
    }
    grid = _object(state.get("grid"))
    lists |= {f"grid.{key}": grid.get(key) for key in ("powers", "currents")}
    lists |= {key: state.get(key) for key in ("gridPowers", "gridCurrents")}
    problems: list[str] = []
    for path, values in lists.items():
        if isinstance(values, list):
            phases = {str(phase): value for phase, value in enumerate(values, 1)}
            problems += _unreadable(f"{path}, phase ", phases, phases)
        elif values is not None:
            problems.append(f"{path}: expected a list, got {values!r:.60}")
    for period, figures in _object(state.get("statistics")).items():
        problems += _unreadable(f"statistics.{period}.", _object(figures), _object(figures))
    return problems


def _unreadable(path: str, values: State, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        value = values.get(key)
        if value is not None and json_number(value) is None:
            yield f"{path}{key}: expected a number, got {value!r:.40}"


def parse_loadpoints(state: State) -> Iterator[Sample]:
    """Yield the values of every loadpoint."""
    for title, loadpoint in find_loadpoints(state):
        for key, value in loadpoint.items():
            number = json_number(value)
            if number is not None:
                yield loadpoint_metric(key).sample(number, title)


def parse_details(state: State) -> Iterator[Sample]:
    """Yield what is in lists and texts: devices, phases, periods, modes, the version."""
    battery = state.get("battery")
    batteries = battery.get("devices") if isinstance(battery, dict) else battery
    yield from _devices(state.get("pv"), {"power": PV_POWER})
    yield from _devices(batteries, {"power": DEVICE_POWER, "soc": DEVICE_SOC})
    for title, loadpoint in find_loadpoints(state):
        yield from _phases(PHASE_CURRENT, loadpoint.get("chargeCurrents"), title)
        yield from _phases(PHASE_VOLTAGE, loadpoint.get("chargeVoltages"), title)
        mode = _text(loadpoint.get("mode"))
        for known in dict.fromkeys((*MODES, mode)) if mode else ():
            yield LOADPOINT_MODE.sample(float(known == mode), title, known)
    grid = _object(state.get("grid"))
    # Until 0.133 these were keys of the site.
    yield from _phases(GRID_PHASE_POWER, grid.get("powers", state.get("gridPowers")))
    yield from _phases(GRID_PHASE_CURRENT, grid.get("currents", state.get("gridCurrents")))
    for period, figures in _object(state.get("statistics")).items():
        for key, value in _object(figures).items():
            number = json_number(value)
            if number is not None:
                yield statistics_metric(key).sample(number, period)
    version = _text(state.get("version"))
    if version:
        yield INFO.sample(1, version)


def distinct(titles: Iterable[tuple[int, str]]) -> list[str]:
    """Return titles, each with its number from 1 behind it where another has it already."""
    return tell_apart((Named(title, number + 1) for number, title in titles), "{} {}".format)


def _devices(devices: object, metrics: Mapping[str, Metric]) -> Iterator[Sample]:
    found = [(number, _object(device)) for number, device in enumerate(_list(devices))]
    titles = distinct(
        (number, _text(device.get("title")) or _text(device.get("name")) or str(number + 1))
        for number, device in found
    )
    for title, (_, device) in zip(titles, found, strict=True):
        for key, metric in metrics.items():
            number = json_number(device.get(key))
            if number is not None:
                yield metric.sample(number, title)


def _phases(metric: Metric, values: object, *labels: str) -> Iterator[Sample]:
    for phase, value in enumerate(_list(values), 1):
        number = json_number(value)
        if number is not None:
            yield metric.sample(number, *labels, str(phase))


def _object(value: object) -> State:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
