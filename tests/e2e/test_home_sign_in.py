"""`pollect auth` for the sources of the home family, each before its cloud."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, POLLECT, call
from tests.simulators.daemons import free_port
from tests.simulators.homematic_cloud import HomematicCloud, needs_cloud
from tests.simulators.sign_in import AuthorizationServer, browser_command
from tests.simulators.viessmann import SERIAL, Viessmann, device
from tests.simulators.zodiac import PASSWORD, USER, Zodiac


def write_config(folder: Path, source: dict[str, Any]) -> Path:
    file = folder / "config.json"
    config = {
        "executors": [{"collection": "home", "sources": [source]}],
        "writer": {"type": "DryRun"},
        "stateDir": str(folder / "state"),
    }
    file.write_text(json.dumps(config))
    return file


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def check_that_it_works(file: Path) -> None:
    done = call("probe", "-c", file)
    assert done.returncode == 0, done.stderr


def test_viessmann_in_the_browser(tmp_path) -> None:
    sign_in = AuthorizationServer(f"http://localhost:{free_port()}/")
    devices = [device("gateway", "vitoconnect"), device("0", "heating")]
    with Viessmann(sign_in=sign_in, devices=devices) as cloud:
        file = write_config(tmp_path, {"type": "Viessmann", **cloud.options})
        before = call("probe", "-c", file)
        assert before.returncode == 1
        assert f"not signed in: run 'pollect auth Viessmann -c {file}'" in before.stderr
        environ = {"BROWSER": browser_command()}
        done = call("auth", "Viessmann", "-c", file, environ=environ)
        assert done.returncode == 0, done.stderr
        assert f"Gateway {SERIAL} of installation 1000001:" in done.stdout
        assert "device 0: heating, model-0" in done.stdout
        token = tmp_path / "state" / "viessmann_token.json"
        assert f"The token is in {token}." in done.stdout
        assert mode_of(token) == 0o600
        for text in ("access-", "refresh-", "code-0"):
            assert text not in done.stdout + done.stderr
        check_that_it_works(file)


def press_when_asked(cloud: HomematicCloud, process: subprocess.Popen[str]) -> tuple[str, str]:
    asks = "/hmip/auth/isRequestAcknowledged"
    wait_until(lambda: cloud.asked(asks) or process.poll() is not None, "the question")
    if process.poll() is None:
        cloud.press_button()
    return process.communicate(timeout=LIMIT_SECONDS)


def registering(file: Path, stdin: str = "") -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [POLLECT, "auth", "HomematicIp", "-c", file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.flush()
    return process


@pytest.mark.integration
@needs_cloud
@pytest.mark.parametrize("pin", [None, "1234"])
def test_homematic_ip_by_its_button(pin, tmp_path) -> None:
    with HomematicCloud() as cloud:
        cloud.cloud.pin = pin
        file = write_config(tmp_path, {"type": "HomematicIp", **cloud.options})
        process = registering(file, f"{pin}\n" if pin else "")
        output, errors = press_when_asked(cloud, process)
        assert process.returncode == 0, errors
        assert "Press the blue button" in output
        assert ("PIN of the access point" in output) == (pin is not None)
        assert "Found 159 devices; rooms:" in output
        assert "  badezimmer\n" in output
        assert "  buero (without a thermostat)\n" in output
        token = tmp_path / "state" / "homematicip_token.json"
        assert mode_of(token) == 0o600
        secret = json.loads(token.read_text())["access_token"]
        assert secret not in output + errors
        check_that_it_works(file)


@pytest.mark.integration
@needs_cloud
def test_homematic_ip_with_a_wrong_pin_says_so(tmp_path) -> None:
    with HomematicCloud() as cloud:
        cloud.cloud.pin = "1234"
        file = write_config(tmp_path, {"type": "HomematicIp", **cloud.options})
        process = registering(file, "9999\n")
        _, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 1
        assert "INVALID_PIN" in errors
        assert "9999" not in errors
        assert not (tmp_path / "state" / "homematicip_token.json").exists()


@pytest.mark.integration
@needs_cloud
def test_homematic_ip_locked_names_the_button(tmp_path) -> None:
    with HomematicCloud() as cloud:
        cloud.instead = lambda path: (
            (403, {"errorCode": "ASSIGNMENT_LOCKED"}, {}) if "connection" in path else None
        )
        file = write_config(tmp_path, {"type": "HomematicIp", **cloud.options})
        done = call("auth", "HomematicIp", "-c", file)
        assert done.returncode == 1
        assert "takes no new clients; press its button first" in done.stderr


def test_zodiac_by_user_and_password(tmp_path) -> None:
    with Zodiac() as cloud:
        file = write_config(tmp_path, {"type": "ZodiacPool", **cloud.options})
        done = call("auth", "ZodiacPool", "-c", file, stdin=f"{USER}\nwrong\n")
        assert done.returncode == 1
        assert "user or password are refused" in done.stderr
        done = call("auth", "ZodiacPool", "-c", file, stdin=f"{USER}\n{PASSWORD}\n")
        assert done.returncode == 0, done.stderr
        assert "Found JT1: vr" in done.stdout
        assert PASSWORD not in done.stdout + done.stderr
        token = tmp_path / "state" / "zodiac-token.json"
        assert mode_of(token) == 0o600
        assert PASSWORD not in token.read_text()
        check_that_it_works(file)
