"""`/status.json` of a real daemon with sources in every state, against the schema of the manual."""

import json
from contextlib import ExitStack
from pathlib import Path

from pollect.testing import serve_http
from pollect.testing.waiting import wait_until
from tests.e2e.command import start
from tests.e2e.status_json import check_everything, get
from tests.simulators.daemons import free_port
from tests.simulators.tcp import listen, serve_tcp

#: Names that JSON, a URL, a page or a terminal might take for its own.
HOSTILE = (
    *("<script>alert(1)</script>", "a/b c?d=e&f#g%2e", '"\\', "\u202egnp.exe", "温度 🌡", "x" * 300),
)


def test_every_state_fits_the_schema(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        silent = stack.enter_context(serve_tcp(listen))
        good = stack.enter_context(serve_http({"*": "hello"}))
        gone = f"127.0.0.1:{free_port()}"
        (tmp_path / "proc").mkdir()
        sources = [
            *({"type": "Dummy", "name": name, "value": 1, "count": 2} for name in HOSTILE),
            {"type": "Evcc", "host": gone, "name": HOSTILE[0]},
            {"type": "Evcc", "host": silent.address, "timeout": 50},
            {"type": "Http", "url": [good.url, f"http://{gone}/{HOSTILE[3]}"], "name": "shop"},
            {"type": "MdRaid"},
        ]
        config = {
            "tickTime": 1,
            "history": 5,
            "maxSeries": 2,
            "roots": {"proc": str(tmp_path / "proc")},
            "writers": [
                {"type": "Prometheus", "port": port, "bind": "127.0.0.1"},
                {"type": "Graphite", "host": "127.0.0.1", "port": free_port()},
            ],
            "executors": [{"collection": "home", "sources": sources}],
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        with start("run", "-c", "config.json", folder=tmp_path) as daemon:
            daemon.wait_for("listening on")

            def states() -> dict[str, int]:
                return {k: n for k, n in get(f"{daemon_url}status.json")["counts"].items() if n}

            daemon_url = f"http://127.0.0.1:{port}/"
            expected = {"up": len(HOSTILE) + 1, "troubled": 1, "down": 1, "new": 1}
            wait_until(lambda: states() == expected, str(expected))
            found = check_everything(port)
    outcomes = {source["outcome"] for source in found.values()}
    assert outcomes == {"ok", "no_data", "troubled", "failed", None}
