"""A browser for tests: Debian's chromium, driven through chromedriver (W3C WebDriver over HTTP)."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pollect.testing.waiting import wait_until
from tests.simulators.daemons import free_port

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Where screenshots of a test run are kept; not part of the repository.
ARTEFACTS = Path(__file__).parents[2] / ".artefacts"
#: A browser on a busy machine takes its time.
LIMIT_SECONDS = 150.0
#: The key of a WebDriver response that names an element.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window of a headless chromium."""

    def __init__(self, driver: str, session: str) -> None:
        self._url = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        _ask("POST", f"{self._url}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page and return what it returns."""
        return _ask("POST", f"{self._url}/execute/sync", {"script": script, "args": arguments})

    @property
    def title(self) -> str:
        return str(_ask("GET", f"{self._url}/title"))

    @property
    def text(self) -> str:
        """What a person can read."""
        return str(self.run("return document.body.innerText"))

    def see(self, text: str) -> None:
        """Wait until a person can read `text` on the page or in its title."""
        wait_until(
            lambda: text in self.text or text in self.title,
            f"{text!r} on the page",
            limit_seconds=LIMIT_SECONDS,
        )

    def find(self, selector: str) -> list[str]:
        found = _ask("POST", f"{self._url}/elements", {"using": "css selector", "value": selector})
        return [element[_ELEMENT] for element in found]

    def click(self, selector: str) -> None:
        _ask("POST", f"{self._url}/element/{self.find(selector)[0]}/click", {})

    def type(self, text: str, selector: str = "body") -> None:
        element = self.find(selector)[0]
        _ask("POST", f"{self._url}/element/{element}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key wherever the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        _ask("POST", f"{self._url}/actions", {"actions": actions})

    def resize(self, width: int, height: int) -> None:
        """Give the page this many pixels, less than a window may have."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def prefer(self, scheme: str) -> None:
        """Prefer `dark` or `light` pages."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def without_script(self, off: bool) -> None:
        self.command("Emulation.setScriptExecutionDisabled", value=off)

    def command(self, name: str, **parameters: object) -> Any:
        """Call a command of the browser's own protocol."""
        body = {"cmd": name, "params": parameters}
        return _ask("POST", f"{self._url}/goog/cdp/execute", body)

    def errors(self) -> list[str]:
        """Return what the browser complained about since the last call."""
        entries = _ask("POST", f"{self._url}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def shoot(self, name: str, *, file: Path | None = None) -> None:
        """Keep a picture of the page as an artefact of the test run."""
        file = file or ARTEFACTS / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(base64.b64decode(_ask("GET", f"{self._url}/screenshot")))


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser; skips the test where Debian's chromium is not installed."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("chromium and chromium-driver are not installed: make services")
    port = free_port()
    driver = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _is_ready(driver), "chromedriver", limit_seconds=LIMIT_SECONDS)
        options = {
            "binary": CHROMIUM,
            "args": [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-dev-shm-usage",
                "--window-size=1400,1000",
            ],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        body = {"capabilities": {"alwaysMatch": wanted}}
        session = _ask("POST", f"{driver}/session", body)["sessionId"]
        try:
            yield Browser(driver, session)
        finally:
            _ask("DELETE", f"{driver}/session/{session}")
    finally:
        process.terminate()
        process.wait()


def _is_ready(driver: str) -> bool:
    try:
        return bool(_ask("GET", f"{driver}/status")["ready"])
    except OSError:
        return False


def _ask(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{method} {url}: {error.read().decode()[:500]}") from error
