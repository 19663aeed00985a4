"""The rule for features on every recorded device, with PyViCare's reading of the same files."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.testing import FakeClock, Running, build_source
from pollect_sources_home.viessmann.details import parse_details
from pollect_sources_home.viessmann.features import ALIASES, PHASES, find_problems, parse_features
from pollect_sources_home.viessmann.source import ViessmannSource
from tests.simulators.viessmann import BULK, Viessmann, device
from tests.sources_home.conftest import RECORDINGS
from tests.sources_network.driver import series_of

FOLDER = RECORDINGS / "viessmann"
DEVICES = sorted(FOLDER.glob("*.json"))
GATEWAYS = sorted(FOLDER.glob("gatewayWithDevices/*/*.json"))
SENSOR = (".sensors.", "airQuality")

pytestmark = pytest.mark.skipif(not DEVICES, reason=f"no recordings in {FOLDER}")


def features_of(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["data"]
    return found


DECISIVE = ("value", "temperature", "active", "status")
#: What compressors have besides the rule.
FIXED = (
    "heating.compressors.phase{",
    "heating.compressors.active{",
    "heating.compressors.stats_",
)


def by_the_rule(feature: dict[str, Any]) -> float | None:
    """What the manual says of a feature, written a second time."""
    name = next((name for name in DECISIVE if name in feature["properties"]), "")
    if not name:
        return None
    kind, value = (feature["properties"][name][key] for key in ("type", "value"))
    if name == "status":
        is_sensor = any(part in feature["feature"] for part in SENSOR)
        return None if is_sensor else float(value in ("on", "connected"))
    wanted = ("boolean",) if name == "active" else ("boolean", "number")
    return float(value) if kind in wanted else None


@pytest.mark.parametrize("file", DEVICES, ids=lambda file: file.stem)
def test_every_feature_becomes_what_the_rule_says(file) -> None:
    features = features_of(file)
    series = series_of(list(parse_features(features)))
    found = [value for name, value in series.items() if not name.startswith(FIXED)]
    expected = [by_the_rule(feature) for feature in features]
    assert sorted(found) == sorted(value for value in expected if value is not None)
    # A name keeps one set of labels, or a backend would refuse it.
    shapes = {(name.partition("{")[0], name.count('="')) for name in series}
    assert len({name for name, _ in shapes}) == len(shapes)
    for feature, name in ALIASES.items():
        for there in features:
            prop = there["properties"].get("value", {})
            if there["feature"] == feature and prop.get("type") == "number":
                assert series[name] == prop["value"]


@pytest.mark.parametrize("file", DEVICES, ids=lambda file: file.stem)
def test_details_add_and_never_repeat(file) -> None:
    features = features_of(file)
    both = series_of([*parse_features(features), *parse_details(features)])  # refuses doubles
    assert not [name for name in both if "Location" in name]


def test_phases_are_the_eight_of_1x_and_the_one_that_is() -> None:
    seen: Counter[str] = Counter()
    for file in DEVICES:
        series = series_of(list(parse_features(features_of(file))))
        phases = {name: value for name, value in series.items() if ".phase{" in name}
        for compressor in {name.rpartition('="')[2] for name in phases}:
            of_one = {n: v for n, v in phases.items() if n.endswith(compressor)}
            assert sum(of_one.values()) == 1
            (current,) = [n.split('"')[1] for n, value in of_one.items() if value]
            assert len(of_one) == len(PHASES) + (current not in PHASES)
            seen[current] += 1
    assert seen["ready"] >= 1


# PyViCare, which reads the same files in its own way.


class FileService:
    """What PyViCare asks for features."""

    def __init__(self, features: list[dict[str, Any]]) -> None:
        self._features = features

    def getProperty(self, accessor: Any, name: str) -> Any:
        from PyViCare.PyViCareService import readFeature

        return readFeature(self._features, name)

    def fetch_all_features(self, accessor: Any) -> Any:
        return {"data": self._features}

    def hasRoles(self, roles: Any) -> bool:
        return False


#: Getter of PyViCare -> our series.
OF_DEVICE = {
    "getOutsideTemperature": "outside_temperature",
    "getReturnTemperature": "return_temperature",
    "getDomesticHotWaterConfiguredTemperature": "hot_water_target_temp",
    "getDomesticHotWaterCirculationPumpActive": "hot_water_circulation_pump",
    "getDomesticHotWaterChargingActive": "hot_water_charging",
    "getBoilerCommonSupplyTemperature": "heating.boiler.sensors.temperature.commonSupply",
    "getSupplyTemperatureSecondaryCircuit": "secondary_supply_temp",
}
OF_CIRCUIT = {
    "getSupplyTemperature": "heating.circuits.sensors.temperature.supply",
    "getActive": "heating.circuits",
    "getCirculationPumpActive": "heating.circuits.circulation.pump",
    "getFrostProtectionActive": "heating.circuits.frostprotection",
    "getHeatingCurveShift": "heating.circuits.heating.curve.shift",
    "getHeatingCurveSlope": "heating.circuits.heating.curve.slope",
    "getRoomTemperature": "heating.circuits.sensors.temperature.room",
}
OF_COMPRESSOR = {
    "getStarts": "heating.compressors.stats_starts",
    "getHours": "heating.compressors.stats_hours",
    "getActive": "heating.compressors",
    **{
        f"getHoursLoadClass{number}": f"heating.compressors.stats_hours_class_{number}"
        for number in range(1, 6)
    },
}
OF_BURNER = {
    "getStarts": "heating.burners.stats_starts",
    "getHours": "heating.burners.stats_hours",
}


def second_opinions(features: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield our series and what PyViCare reads for it, wherever it reads something."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from PyViCare.PyViCareGazBoiler import GazBoiler
        from PyViCare.PyViCareHeatPump import HeatPump

    service: Any = FileService(features)
    pump, boiler = HeatPump(None, service), GazBoiler(None, service)
    yield from readings(pump, OF_DEVICE, "")
    for number in range(4):
        yield from readings(pump.getCircuit(str(number)), OF_CIRCUIT, f'{{circuit="{number}"}}')
        compressor = pump.getCompressor(str(number))
        yield from readings(compressor, OF_COMPRESSOR, f'{{compressor="{number}"}}')
        burner = boiler.getBurner(str(number))
        yield from readings(burner, OF_BURNER, f'{{burner="{number}"}}')
        phase: Callable[[], Any] = compressor.getPhase
        for name, value in readings(compressor, {"getPhase": "phase"}, ""):
            assert phase() == value
            labels = f'phase="{value}",compressor="{number}"'
            yield f"heating.compressors.{name}{{{labels}}}", True


def readings(part: Any, getters: dict[str, str], labels: str) -> Iterator[tuple[str, Any]]:
    from PyViCare.PyViCareUtils import PyViCareNotSupportedFeatureError

    for getter, name in getters.items():
        try:
            value = getattr(part, getter)()
        except (PyViCareNotSupportedFeatureError, KeyError, IndexError):
            continue
        if (value is not None and not isinstance(value, str)) or name == "phase":
            yield f"{name}{labels}", value


def test_pyvicare_reads_the_same_numbers() -> None:
    pytest.importorskip("PyViCare")
    compared: Counter[str] = Counter()
    for file in DEVICES:
        features = features_of(file)
        ours = series_of([*parse_features(features), *parse_details(features)])
        for name, value in second_opinions(features):
            if name == "phase" or (value is None):
                continue
            assert ours.get(name) == value, f"{file.stem}: {name}"
            compared[name.partition("{")[0]] += 1
    assert sum(compared.values()) > 200
    assert len(compared) >= 15, compared


def test_the_numbers_of_a_vitocal_250a() -> None:
    file = FOLDER / "Vitocal250A.json"
    if not file.exists():
        pytest.skip(f"no recording at {file}")
    series = series_of(list(parse_features(features_of(file))))
    expected = {
        "outside_temperature": 12.2,
        "return_temperature": 34.2,
        "hot_water_storage": 46.8,
        'heating.circuits.sensors.temperature.supply{circuit="0"}': 29.8,
        'heating.compressors.phase{phase="ready",compressor="0"}': 1,
        'heating.compressors.active{compressor="0"}': 0,
        'heating.compressors.stats_hours{compressor="0"}': 8118,
        'heating.compressors.stats_starts{compressor="0"}': 1502,
    }
    assert {name: series[name] for name in expected} == expected


@pytest.mark.parametrize("file", GATEWAYS, ids=lambda file: file.stem)
def test_the_answer_of_a_gateway_is_told_apart_by_device(file, tmp_path) -> None:
    features = features_of(file)
    clock = FakeClock()
    (listed,) = [f for f in features if f["feature"] == "gateway.devices"]
    devices = listed["properties"]["devices"]["value"]
    with Viessmann(clock=clock.time) as cloud:
        cloud.devices = [device(each["id"], each["type"]) for each in devices]
        cloud.instead[BULK] = {"data": features}
        (tmp_path / "viessmann_token.json").write_text(
            cloud.token_text(expires_at=clock.time() + 3600)
        )
        options = {**cloud.options, "devices": "all", "details": True}
        source = build_source(options, ViessmannSource, clock=clock, state_dir=tmp_path)
        with Running(source) as running:
            samples = running.probe()
    by_device: Counter[str] = Counter(sample.label_values[-1] for sample in samples)
    for each in devices:
        own = [f for f in features if f"/devices/{each['id']}/features" in f["uri"]]
        plain = series_of(list(parse_features(own)))
        assert by_device[each["id"]] >= len(plain) + 1, each["id"]
    online = [s for s in samples if s.metric.name == "device_online"]
    assert {sample.label_values[0] for sample in online} == {each["id"] for each in devices}


def test_number_that_is_none_is_a_problem_of_its_feature() -> None:
    features = [
        {"feature": "heating.a", "properties": {"value": {"type": "number", "value": "warm"}}},
        {"feature": "heating.b", "properties": {"value": {"type": "number", "value": None}}},
        {"feature": "heating.c", "properties": {"value": {"type": "number", "value": 5}, "x": 5}},
    ]
    assert find_problems(features) == ["heating.a: value: expected a number, got 'warm'"]
