"""What each cloud source costs a daemon: memory over one without sources, and time to import it.

The services are simulated, in a process of their own that is not counted. Runs alone as well:
`python -m tests.bench.cloud`.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pollect.testing import serve_http
from tests.bench.daemons import ours
from tests.bench.process import peer
from tests.bench.table import OURS, Row, format_table

SERVE = "serve"
RUNS = 3
IMPORTS = 5
LIMIT_SECONDS = 30.0
STORES_GOAL_MB = 20.0
APP = "my.app"

HEAD = """\
tickTime: 3600
writer: {{port: {port}, type: Prometheus}}
executors:
  - collection: bench
    sources:
      - {{type: Dummy, value: 1}}
"""
SECTIONS = {
    "Gdc": """\
      - type: Gdc
        bucketName: {bucket}
        keyFile: {folder}/play.json
        dbDir: {folder}/db
        endpoint: http://127.0.0.1:{google}
        apps: [{{package: my.app}}]
""",
    "AppStoreConnect": """\
      - type: AppStoreConnect
        keyId: {key_id}
        keyFile: {folder}/apple.p8
        issuerId: {issuer}
        vendorNumber: {vendor}
        dbDir: {folder}/db
        endpoint: http://127.0.0.1:{apple}
""",
    "MMI": """\
      - type: MMI
        user: {user}
        password: "{password}"
        tokenFile: {folder}/token.json
        portal: http://127.0.0.1:{portal}
        identity: http://127.0.0.1:{identity}
""",
    "S3Objects": """\
      - type: S3Objects
        bucket: backups
        accessKey: a
        secretKey: b
        endpoint: http://127.0.0.1:{s3}
""",
    "GitHub": """\
      - type: GitHub
        repositories: [octo/engine]
        endpoint: http://127.0.0.1:{github}
""",
}
#: What a source imports, and what it has done when its library is imported, too.
IMPORT = {
    "Gdc": "import pollect_sources_cloud.gdc.source as m; m.Signer('RS256', 'gdc')",
    "AppStoreConnect": "import pollect_sources_cloud.app_store_connect.source as m; "
    "m.Signer('ES256', 'appstoreconnect')",
    "MMI": "import pollect_sources_cloud.vw_group.source",
    "S3Objects": "import pollect_sources_cloud.s3_objects.source",
    "GitHub": "import pollect_sources_cloud.github.source",
}
PORTS = ("google", "apple", "portal", "identity", "s3", "github")


def run() -> list[Row]:
    """Measure every source by itself, and those of both stores together."""
    rows = []
    bare = median_mb("", ())
    rows.append(Row("a daemon without a cloud source", "MB", {OURS: bare}))
    for types in [(name,) for name in SECTIONS] + [("Gdc", "AppStoreConnect")]:
        with tempfile.TemporaryDirectory() as folder, peer(__name__, SERVE, folder) as ports:
            config = "".join(section(name, folder, ports) for name in types)
            memory: dict[str, float | None] = {OURS: median_mb(config, types) - bare}
        goal = STORES_GOAL_MB if len(types) > 1 else None
        rows.append(Row(f"{' with '.join(types)}, memory over that", "MB", memory, goal=goal))
    for name, code in IMPORT.items():
        rows.append(Row(f"{name}, import", "s", {OURS: import_seconds(code)}))
    return rows


def section(name: str, folder: str, ports: Sequence[int]) -> str:
    from tests.simulators import app_store_connect, google_storage, vw_group

    return SECTIONS[name].format(
        folder=folder,
        bucket=google_storage.BUCKET,
        key_id=app_store_connect.KEY_ID,
        issuer=app_store_connect.ISSUER,
        vendor=app_store_connect.VENDOR,
        user=vw_group.USER,
        password=vw_group.PASSWORD,
        **dict(zip(PORTS, ports, strict=True)),
    )


def median_mb(sections: str, types: tuple[str, ...]) -> float:
    """Return the resident memory of a daemon in MB once all of its sources have been read."""
    figures = []
    for _ in range(RUNS):
        with ours(HEAD + sections.replace("{", "{{").replace("}", "}}")) as running:
            end = time.monotonic() + LIMIT_SECONDS
            wanted = [f"bench_{name}_".encode() for name in types]
            while not all(name in running.get() for name in wanted):
                if time.monotonic() > end:
                    raise RuntimeError(f"no values of {types} within {LIMIT_SECONDS:g} s")
                time.sleep(0.05)
            figures.append(running.resident_mb())
    return statistics.median(figures)


def import_seconds(code: str) -> float:
    """Return how long a source takes to import in a process that has the plugin API."""
    clock = "time.perf_counter()"
    text = f"import time, pollect.api; begun = {clock}; {code}; print({clock} - begun)"
    command = [sys.executable, "-c", text]
    return statistics.median(
        float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(IMPORTS)
    )


def serve(folder: Path) -> None:
    """Serve all services until standard input ends; prints their ports."""
    from tests.simulators import app_store_connect, github, google_storage, vw_group

    listing = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size>"
        "<LastModified>2023-11-14T00:00:00Z</LastModified></Contents></ListBucketResult>"
    )
    today = datetime.now(UTC).date()
    with ExitStack() as stack:
        tokens = stack.enter_context(google_storage.TokenEndpoint(time.time))
        bucket = stack.enter_context(google_storage.Bucket(tokens))
        apple = stack.enter_context(app_store_connect.AppStoreConnect(time.time))
        cars = stack.enter_context(vw_group.car_with(vw_group.delivery(mileage="5")))
        s3 = stack.enter_context(serve_http({"/backups": listing}))
        hub = stack.enter_context(github.GitHub())
        hub.add("octo/engine")
        google_key, apple_key = google_storage.new_key(), app_store_connect.new_key()
        tokens.keys["k1"] = google_key.public_key()
        apple.keys[app_store_connect.KEY_ID] = apple_key.public_key()
        google_storage.write_key_file(folder / "play.json", google_key, tokens.token_uri)
        app_store_connect.write_key_file(folder / "apple.p8", apple_key)
        text = f"Date,Package Name,Daily Crashes,Daily ANRs\n{today},{APP},1,0\n"
        for day in (today, today - timedelta(days=2)):
            name = f"stats/crashes/crashes_{APP}_{day:%Y%m}_overview.csv"
            bucket.put(name, google_storage.as_report(text))
        sold = app_store_connect.table(app_store_connect.row("APP", "1F", 1))
        apple.days = {today - timedelta(days=back): sold for back in range(5)}
        servers = (bucket, apple, cars.portal, cars.identity, s3, hub)
        print(*(server.port for server in servers), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        serve(Path(sys.argv[2]))
    else:
        print(format_table("cloud sources", run()))
