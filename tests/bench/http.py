"""Http checks against nginx: the whole daemon, beside the blackbox exporter of Prometheus.

nginx runs in a process of its own that is not counted. Runs alone as well:
`python -m tests.bench.http`.
"""

import http.client
import shutil
import tempfile
import time
from pathlib import Path

from tests.bench.daemons import ours
from tests.bench.process import Daemon, daemon, free_port
from tests.bench.table import OURS, Row, format_table
from tests.simulators.nginx import run_nginx

CHECKS_PER_SECOND = 200
SECONDS = 20.0
WARM_UP_SECONDS = 10.0
MANY = 5_000
MANY_TICK_SECONDS = 10
GOAL_MS = 0.6
GOAL_PERCENT = 35.0
BLACKBOX = "blackbox_exporter"

HEAD = """\
tickTime: {tick}
writer: {{type: Prometheus, port: {{port}}}}
executors:
  - collection: bench
    sources:
"""
SOURCE = "      - {{type: Http, name: h{number}, url: '{url}', timeout: 5}}\n"
MODULES = "modules:\n  http: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}\n"


def config(count: int, tick: int, url: str) -> str:
    """Return a config with `count` Http sources, with a place for the port."""
    sources = "".join(SOURCE.format(number=number, url=url) for number in range(count))
    escaped = (HEAD.format(tick=tick, port="PORT") + sources).replace("{", "{{").replace("}", "}}")
    return escaped.replace("{{port}}", "{port}")


def ours_percent(count: int, tick: int, url: str, seconds: float) -> float:
    """Return the CPU time of our daemon in percent of a core once every source was probed."""
    with ours(config(count, tick, url)) as running:
        # The first rounds open the sources and build what the later ones remember.
        time.sleep(max(3 * tick, WARM_UP_SECONDS))
        used = running.cpu_percent(seconds)
        good = running.get().count(b"_success")
        assert good >= count, f"{good} of {count} checks succeeded"
        return used


def blackbox_ms(url: str) -> float | None:
    """Return the CPU time of one probe of the blackbox exporter, None without it."""
    program = shutil.which("prometheus-blackbox-exporter")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        modules = Path(folder, "blackbox.yml")
        modules.write_text(MODULES)
        port = free_port()
        command = [program, f"--config.file={modules}", f"--web.listen-address=127.0.0.1:{port}"]
        with daemon(command, port) as running:
            ask(running, url, CHECKS_PER_SECOND)
            used = running.cpu_seconds()
            ask(running, url, count := int(CHECKS_PER_SECOND * SECONDS / 4))
            return 1000 * (running.cpu_seconds() - used) / count


def ask(running: Daemon, url: str, count: int) -> None:
    """Ask for `count` probes over one connection, as often in a second as we check."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    begin = time.monotonic()
    for number in range(count):
        connection.request("GET", f"/probe?module=http&target={url}")
        assert b"probe_success 1" in connection.getresponse().read()
        time.sleep(max(0.0, begin + number / CHECKS_PER_SECOND - time.monotonic()))
    connection.close()


def run() -> list[Row]:
    """Measure checks of a page that nginx answers at once."""
    with tempfile.TemporaryDirectory() as folder, run_nginx(Path(folder)) as nginx:
        used = ours_percent(CHECKS_PER_SECOND, 1, nginx.http, SECONDS)
        one = {OURS: 10 * used / CHECKS_PER_SECOND, BLACKBOX: blackbox_ms(nginx.http)}
        many = ours_percent(MANY, MANY_TICK_SECONDS, nginx.http, 2 * MANY_TICK_SECONDS)
    return [
        Row(f"CPU of one check, {CHECKS_PER_SECOND} a second", "ms", one, GOAL_MS),
        Row(
            f"{MANY} sources at a {MANY_TICK_SECONDS} s tick",
            "% of a core",
            {OURS: many},
            GOAL_PERCENT,
        ),
    ]


if __name__ == "__main__":
    print(format_table("Http checks against nginx", run()))
