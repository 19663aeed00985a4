"""1.x and pollect before the same simulated clouds: Viessmann, Homematic IP, Zodiac."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.testing.waiting import wait_until
from pollect_sources_home.viessmann.features import parse_features, split_name
from tests.e2e.beside_1x import OLD_PYTHON, needs_1x, old_pollect, values_of
from tests.e2e.command import call, start
from tests.simulators.daemons import free_port
from tests.simulators.homematic_cloud import TOKEN, HomematicCloud, needs_cloud
from tests.simulators.viessmann import Viessmann
from tests.simulators.zodiac import PASSWORD, USER, VR, Zodiac, shadow
from tests.sources_home.test_viessmann_recordings import DEVICES, features_of

pytestmark = [pytest.mark.integration, needs_1x("requests", "homematicip")]

#: Imported by Python itself when it starts: 1.x knows one address for each cloud.
DETOUR = """\
import homematicip.connection
from pollect.libs.viessmann.ViessmannApi import ViessmannApi, ViessmannOauth
from pollect.libs.zodiac.ZodiacApi import ZodiacApi

ViessmannApi.API_URL = "{viessmann}/iot"
ViessmannOauth.token_url = "{viessmann}/idp/v3/token"
ZodiacApi.SHADOW_URL = ZodiacApi.API_URL = ZodiacApi.PRM_URL = "{zodiac}"
homematicip.connection.Connection.init.__defaults__ = (True, "{homematic}/getHost")
"""

#: What 1.x says wrongly, and why; `None` for a series that ours does not have.
FAULTS = {
    # A sensor that is not connected is not at 0 °C.
    'net_Viessmann_heating_buffer_sensors_temperature_top{site="x"}': None,
    # The pump runs, says its property `active`; 1.x does not know the phase `ready`.
    'net_Viessmann_heating_compressors_active{compressor="0",site="x"}': 1.0,
}


class Clouds:
    """The three services, and a folder with what 1.x needs to reach them."""

    def __init__(
        self, folder: Path, viessmann: Viessmann, homematic: HomematicCloud, zodiac: Zodiac
    ) -> None:
        self.folder = folder
        self.options = {
            "Viessmann": viessmann.options,
            "HomematicIp": {**homematic.options, "authToken": TOKEN},
            "ZodiacPool": {**zodiac.options, "user": USER, "password": PASSWORD},
        }
        text = viessmann.token_text(expires_at=time.time() + 3600)
        (folder / "viessmann_token.json").write_text(text)
        detour = folder / "detour"
        detour.mkdir()
        (detour / "sitecustomize.py").write_text(
            DETOUR.format(viessmann=viessmann.url, zodiac=zodiac.url, homematic=homematic.url)
        )
        self.environ = {"PYTHONPATH": str(detour)}

    def write_config(self, name: str, port: int, *keys: str) -> Path:
        """Write a config; `keys` are the options that only pollect has."""
        sources = []
        for kind, options in self.options.items():
            own = {key: value for key, value in options.items() if key in (*OF_1X, *keys)}
            sources.append({"type": kind, "labels": {"site": "x"}, **own})
        file = self.folder / name
        file.write_text(
            json.dumps(
                {
                    "tickTime": 1,
                    "stateDir": str(self.folder),
                    "writer": {"type": "Prometheus", "port": port},
                    "executors": [{"collection": "net", "sources": sources}],
                }
            )
        )
        return file


OF_1X = ("client_id", "callback_url", "accessPoint", "authToken", "user", "password")
ADDRESSES = ("apiUrl", "identityUrl", "lookupUrl", "usersUrl", "devicesUrl")
TYPES = ("Viessmann", "HomematicIp", "ZodiacPool")


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Clouds]:
    running = {**VR, "cycleStartTime": int(time.time()) - 600, "stepper": 0}
    with Viessmann() as viessmann, HomematicCloud() as homematic:
        # 1.x decodes only tokens whose text happens to be in another alphabet.
        with Zodiac(name="plain", devices={"JT1": ("vr", shadow(running))}) as zodiac:
            yield Clouds(tmp_path, viessmann, homematic, zodiac)


def values_when_complete(port: int) -> dict[str, float]:
    found: dict[str, float] = {}

    def complete() -> bool:
        nonlocal found
        with contextlib.suppress(OSError):
            found = {name: v for name, v in values_of(port).items() if name.startswith("net_")}
        return all(any(name.startswith(f"net_{kind}_") for name in found) for kind in TYPES)

    wait_until(complete, "values of all three")
    return found


@needs_cloud
def test_every_series_of_1x_exists_with_equal_names_labels_and_values(clouds: Clouds) -> None:
    old_port, new_port = free_port(), free_port()
    old_file = clouds.write_config("old.json", old_port)
    new_file = clouds.write_config("new.json", new_port, *ADDRESSES)
    with old_pollect(old_file, environ=clouds.environ):
        old = values_when_complete(old_port)
    with start("run", "-c", new_file, folder=clouds.folder):
        new = values_when_complete(new_port)
    assert len(old) >= 35
    assert sum(name.startswith("net_HomematicIp_") for name in old) == 9
    for name, value in old.items():
        expected = FAULTS.get(name, value)
        if expected is None:
            assert name not in new
        else:
            # A clock runs for the robot, and for nothing else.
            slack = 60 if "remaining_time" in name else 0
            assert new[name] == pytest.approx(expected, abs=slack), name


@needs_cloud
def test_a_config_of_1x_is_accepted_as_it_is(clouds: Clouds) -> None:
    done = call("check", clouds.write_config("old.json", 0), folder=clouds.folder)
    assert (done.returncode, done.stderr) == (0, "")


#: Reads recorded devices by the rule of 1.x; prints what it would write.
RULE_OF_1X = """
import json, sys
from pollect.libs.viessmann.ViessmannApi import ViessmannApi, ViessmannOauth
from pollect.sources.ViessmannSource import ViessmannSource

gateway = {"serial": "1", "version": "", "installationId": 1, "aggregatedStatus": "",
           "devices": [{"id": "0", "deviceType": "heating"}]}
ViessmannOauth.get_token = lambda self: None
results = {}
for file in sys.argv[1:]:
    data = json.load(open(file))
    ViessmannApi._get = lambda self, path: {"data": [gateway]} if "equipment" in path else data
    source = ViessmannSource({"type": "Viessmann", "client_id": "", "callback_url": ""})
    try:
        sets = source._probe()
    except Exception as error:
        results[file] = repr(error)
        continue
    results[file] = [
        [value.name, dict(zip(found.labels, value.label_values)), float(value.value)]
        for found in sets for value in found.values
    ]
print(json.dumps(results))
"""


def test_every_recorded_viessmann_device_has_the_series_of_1x() -> None:
    if not DEVICES:
        pytest.skip("no recordings of Viessmann devices")
    done = subprocess.run(
        [OLD_PYTHON, "-c", RULE_OF_1X, *map(str, DEVICES)],
        capture_output=True,
        text=True,
        check=True,
    )
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    compared = 0
    for file in DEVICES:
        result = results[str(file)]
        assert isinstance(result, list), f"1.x cannot read {file.name}: {result}"
        ours: dict[tuple[Any, ...], float] = {
            (
                sample.metric.name,
                *zip(sample.metric.labels, sample.label_values, strict=True),
            ): sample.value
            for sample in parse_features(features_of(file))
        }
        # 1.x does not know this phase, and takes it for a stop.
        ready = {
            labels[1][1]
            for name, *labels in ours
            if name == "heating.compressors.phase" and labels[0] == ("phase", "ready")
        }
        for name, labels, value in result:
            key = (name, *labels.items())
            if key not in ours:
                # The only ones that go: sensors that are not there.
                assert is_sensor_without_value(features_of(file), name), f"{file.name}: {key}"
                continue
            if name == "heating.compressors.active" and labels["compressor"] in ready:
                continue
            assert ours[key] == value, f"{file.name}: {key}"
            compared += 1
    assert compared > 1000


def is_sensor_without_value(features: list[dict[str, Any]], name: str) -> bool:
    """Whether a value of 1.x came from nothing but the status of a sensor."""
    return any(
        split_name(feature["feature"])[0] == name
        and set(feature["properties"]) & {"value", "temperature", "active"} == set()
        and any(part in feature["feature"] for part in (".sensors.", "airQuality"))
        for feature in features
    )
