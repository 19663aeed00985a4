"""How to put each cloud source to the contract; see `cases`."""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from pollect.testing import SourceCase, serve_http
from pollect.testing.clock import FakeClock
from tests.simulators import app_store_connect, github, google_storage, vw_group
from tests.simulators.google_storage import BUCKET, Bucket, TokenEndpoint, as_report

#: Key files and caches of these tests; goes with the process.
_FOLDER = tempfile.TemporaryDirectory(prefix="pollect-cloud-")

google_key = functools.cache(google_storage.new_key)
_apple_key = functools.cache(app_store_connect.new_key)


def folder() -> Path:
    """Return a new folder."""
    return Path(tempfile.mkdtemp(dir=_FOLDER.name))


def google_files(token_uri: str) -> dict[str, Any]:
    place = folder()
    file = google_storage.write_key_file(place / "key.json", google_key(), token_uri)
    return {"keyFile": str(file), "dbDir": str(place / "db")}


@contextmanager
def play_console() -> Iterator[Mapping[str, Any]]:
    text = "Date,Package Name,Daily Crashes,Daily ANRs\n2023-11-13,my.app,4,1\n"
    with TokenEndpoint(FakeClock().time) as tokens, Bucket(tokens) as bucket:
        tokens.keys["k1"] = google_key().public_key()
        bucket.put("stats/crashes/crashes_my.app_202311_overview.csv", as_report(text))
        yield {"endpoint": bucket.url, **google_files(tokens.token_uri)}


def google_at(host: str, port: int) -> dict[str, Any]:
    url = f"http://{host}:{port}"
    return {"endpoint": url, **google_files(f"{url}/token")}


def apple_files() -> dict[str, Any]:
    place = folder()
    file = app_store_connect.write_key_file(place / "key.p8", _apple_key())
    return {"keyFile": str(file), "dbDir": str(place / "db")}


@contextmanager
def sales_reports() -> Iterator[Mapping[str, Any]]:
    with app_store_connect.AppStoreConnect(FakeClock().time) as apple:
        apple.keys[app_store_connect.KEY_ID] = _apple_key().public_key()
        rows = [app_store_connect.row("APP", "1F", 2, 1, "EUR")]
        apple.days[date(2023, 11, 13)] = app_store_connect.table(*rows)
        yield {"endpoint": apple.url, **apple_files()}


def apple_at(host: str, port: int) -> dict[str, Any]:
    return {"endpoint": f"http://{host}:{port}", **apple_files()}


@contextmanager
def car() -> Iterator[Mapping[str, Any]]:
    with vw_group.car_with(vw_group.delivery(mileage="5")) as group:
        yield {**group.options, "tokenFile": str(folder() / "token.json")}


def car_at(host: str, port: int) -> dict[str, Any]:
    url = f"http://{host}:{port}"
    return {"portal": url, "identity": url, "tokenFile": str(folder() / "token.json")}


@contextmanager
def repositories() -> Iterator[Mapping[str, Any]]:
    with github.GitHub(token="hush-token") as service:
        service.add("octo/engine")
        yield {"endpoint": service.url}


@contextmanager
def bucket() -> Iterator[Mapping[str, Any]]:
    """A listing; `tests/sources_cloud` has a store that is asked to check the signature."""
    listing = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size>"
        "<LastModified>2023-11-14T00:00:00Z</LastModified></Contents></ListBucketResult>"
    )
    with serve_http({"/backups": listing}) as server:
        yield {"endpoint": server.url}


CLOUD_SOURCES: list[SourceCase] = [
    SourceCase(
        section={
            "type": "AppStoreConnect",
            "keyId": app_store_connect.KEY_ID,
            "keyFile": "absent.p8",
            "issuerId": app_store_connect.ISSUER,
            "vendorNumber": app_store_connect.VENDOR,
            "timeout": 0.3,
        },
        target=sales_reports,
        at=apple_at,
    ),
    SourceCase(
        section={
            "type": "Gdc",
            "bucketName": BUCKET,
            "keyFile": "absent.json",
            "apps": [{"package": "my.app"}],
            "timeout": 0.3,
        },
        target=play_console,
        at=google_at,
    ),
    SourceCase(
        section={"type": "MMI", **vw_group.ACCOUNT, "timeout": 0.3},
        target=car,
        at=car_at,
    ),
    SourceCase(
        section={"type": "VwGroup", "brand": "Skoda", **vw_group.ACCOUNT, "timeout": 0.3},
        target=car,
        at=car_at,
    ),
    SourceCase(
        section={
            "type": "GitHub",
            "repositories": ["octo/engine"],
            "token": "hush-token",
            "timeout": 0.3,
        },
        target=repositories,
        at=lambda host, port: {"endpoint": f"http://{host}:{port}"},
    ),
    SourceCase(
        section={
            "type": "S3Objects",
            "bucket": "backups",
            "accessKey": "a-key",
            "secretKey": "hush-secret",
            "sessionToken": "hush-session",
            "timeout": 0.3,
        },
        target=bucket,
        at=lambda host, port: {"endpoint": f"http://{host}:{port}"},
    ),
]
