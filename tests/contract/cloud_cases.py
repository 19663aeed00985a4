"""How to put each cloud source to the contract; see `cases`."""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollect.testing import SourceCase
from pollect.testing.clock import FakeClock
from tests.simulators.google_storage import (
    BUCKET,
    Bucket,
    TokenEndpoint,
    as_report,
    new_key,
    write_key_file,
)

#: Key files and caches of these tests; goes with the process.
_FOLDER = tempfile.TemporaryDirectory(prefix="pollect-cloud-")

_google_key = functools.cache(new_key)


def folder() -> Path:
    """Return a new folder."""
    return Path(tempfile.mkdtemp(dir=_FOLDER.name))


def google_files(token_uri: str) -> dict[str, Any]:
    place = folder()
    file = write_key_file(place / "key.json", _google_key(), token_uri)
    return {"keyFile": str(file), "dbDir": str(place / "db")}


@contextmanager
def play_console() -> Iterator[Mapping[str, Any]]:
    text = "Date,Package Name,Daily Crashes,Daily ANRs\n2023-11-13,my.app,4,1\n"
    with TokenEndpoint(FakeClock().time) as tokens, Bucket(tokens) as bucket:
        tokens.keys["k1"] = _google_key().public_key()
        bucket.put("stats/crashes/crashes_my.app_202311_overview.csv", as_report(text))
        yield {"endpoint": bucket.url, **google_files(tokens.token_uri)}


def google_at(host: str, port: int) -> dict[str, Any]:
    url = f"http://{host}:{port}"
    return {"endpoint": url, **google_files(f"{url}/token")}


CLOUD_SOURCES: list[SourceCase] = [
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
]
