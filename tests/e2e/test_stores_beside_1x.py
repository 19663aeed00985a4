"""1.x and pollect before the same bucket and the same sales reports: every series of 1.x is ours.

The values are equal as well, but for the fault that the reference names: of the newest day 1.x
reports the last version only.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pollect.testing import wait_until
from tests.e2e.beside_1x import LABEL, needs_1x, old_pollect
from tests.e2e.command import scrape, start
from tests.simulators import app_store_connect, google_storage
from tests.simulators.app_store_connect import ISSUER, KEY_ID, VENDOR, AppStoreConnect, row, table
from tests.simulators.daemons import free_port
from tests.simulators.google_storage import BUCKET, TokenEndpoint, as_report, fake_gcs_server

pytestmark = [pytest.mark.integration, needs_1x("google.cloud.storage", "appstoreconnect")]

APPS = ("my.app.package", "org.example.game")
CONFIG = """\
tickTime: 2
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: Apps
    sources:
      - type: Gdc
        bucketName: {bucket}
        keyFile: {folder}/play.json
        apps: [{{package: my.app.package, name: App}}, {{package: org.example.game}}]
      - type: AppStoreConnect
        labels: {{store: apple}}
        keyId: {key_id}
        keyFile: {folder}/apple.p8
        issuerId: {issuer}
        vendorNumber: "{vendor}"
{more}"""

#: Points 1.x's library at the simulator, and keeps it from sending statistics to its author.
PATCH = """\
import appstoreconnect.api

appstoreconnect.api.BASE_API = {url!r}
appstoreconnect.api.Api._submit_stats = lambda self, event: None
"""

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Stores:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        tokens = stack.enter_context(TokenEndpoint(time.time))
        self.storage = stack.enter_context(fake_gcs_server(folder))
        self.apple = stack.enter_context(AppStoreConnect(time.time))
        self.apple.takes_library_of_1x = True
        google_key, apple_key = google_storage.new_key(), app_store_connect.new_key()
        tokens.keys["k1"] = google_key.public_key()
        self.apple.keys[KEY_ID] = apple_key.public_key()
        google_storage.write_key_file(folder / "play.json", google_key, tokens.token_uri)
        app_store_connect.write_key_file(folder / "apple.p8", apple_key)
        # The month is the local one for 1.x, for us that of the west coast.
        today = datetime.now(UTC).date()
        for day in (today, today - timedelta(days=2), today + timedelta(days=2)):
            self._write_crashes(f"{day:%Y%m}", today)
        sold = table(
            row("APP.A", "1F", 10), row("APP.A", "1F", -1), row("APP.A", "7F", 99),
            row("APP.B", "F1", 4), row("COINS", "IA1", 2), row("CLUB", "IAY", 6),
        )  # fmt: skip
        self.apple.days = {today - timedelta(days=back): sold for back in range(-1, 5)}

    def _write_crashes(self, month: str, today: date) -> None:
        before, newest = today - timedelta(days=2), today - timedelta(days=1)
        for number, package in enumerate(APPS):
            rows = [
                "Date,Package Name,App Version Code,Daily Crashes,Daily ANRs",
                f"{before},{package},100,9,9",
                f"{newest},{package},101,{number + 3},1",
                f"{newest},{package},102,{number + 5},2",
            ]
            name = f"stats/crashes/crashes_{package}_{month}_app_version.csv"
            self.storage.put(name, as_report("\n".join([*rows, ""])))

    def config(self, name: str, more: str = "") -> tuple[Path, int]:
        """Return a config in a folder of its own, for the caches, and the port it serves."""
        port, folder = free_port(), self.folder / name
        folder.mkdir()
        text = CONFIG.format(
            port=port, bucket=BUCKET, folder=self.folder, key_id=KEY_ID, issuer=ISSUER,
            vendor=VENDOR, more=more,
        )  # fmt: skip
        (folder / "config.yml").write_text(text)
        return folder / "config.yml", port


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(tmp_path, stack)


def values_of(port: int) -> Values:
    """Return what a daemon shows of the collection once both sources have been read."""

    def complete() -> Values:
        found: Values = {}
        with suppress(OSError):
            for line in scrape(port).splitlines():
                if line.startswith("Apps_"):
                    series, _, number = line.rpartition(" ")
                    name, _, labels = series.partition("{")
                    found[name, tuple(sorted(LABEL.findall(labels)))] = float(number)
        names = {name for name, _ in found}
        return found if {"Apps_Gdc_latestUpdate", "Apps_AppStoreConnect_units"} <= names else {}

    return wait_until(complete, "the values of both stores")


def test_every_series_of_1x_exists_with_equal_labels_and_values(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    old_file, old_port = stores.config("old")
    (stores.folder / "patch").mkdir()
    (stores.folder / "patch" / "sitecustomize.py").write_text(PATCH.format(url=stores.apple.url))
    environ = {
        "STORAGE_EMULATOR_HOST": stores.storage.url,
        "PYTHONPATH": str(stores.folder / "patch"),
        "TZ": "UTC",
    }
    with old_pollect(old_file, environ=environ):
        old = values_of(old_port)

    new_file, new_port = stores.config("new", f"        endpoint: {stores.apple.url}\n")
    environ = {"STORAGE_EMULATOR_HOST": stores.storage.url, "TZ": "UTC"}
    with start("run", "-c", new_file, folder=new_file.parent, environ=environ):
        new = values_of(new_port)

    of_now = ("Apps_AppStoreConnect_latestUpdate", (("store", "apple"),))
    assert new[of_now] == pytest.approx(old.pop(of_now), abs=60)
    assert {series: new.get(series) for series in old} == old
    # Two apps, each with one version, and one date of 1.x; four SKUs.
    assert len(old) == 2 * 2 + 1 + 4, sorted(old)
    for app in ("my_app_package", "org_example_game"):
        labels = (("type", "crash"), ("versionCode", "101"))
        assert (f"Apps_Gdc_crashes_{app}", labels) not in old
        assert (f"Apps_Gdc_crashes_{app}", labels) in new
