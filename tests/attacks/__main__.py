"""Run the attacks and print what each cost: threads, files, memory, time, and what was lost."""

import argparse
import contextlib
import json
import random
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.attacks.target import Target, flood, target
from tests.bench.table import align
from tests.e2e.command import start
from tests.e2e.test_crashes import COUNTING_SOURCE, last_before, on_disk, write_config
from tests.simulators.daemons import free_port
from tests.writers.backends import InfluxBackend

#: A figure, its unit, and the most it should be (None where there is no goal).
Row = tuple[str, float, str, float | None]

FLOOD_PROCESSES = 4
GUESSES_EACH = 400
ATTACK_SECONDS = 10.0
SLOW_CONNECTIONS = 500
PUSHES = 300
SLOW_READERS = 50
KILLS = 20
LABEL_BYTES = 1024 * 1024


def attack_with_passwords(folder: Path) -> list[Row]:
    """1600 wrong passwords on 4 x 400 connections that do not read."""
    with target(folder, []) as daemon:
        before = daemon.now()
        probes = daemon.value("pollect_source_probes_total", outcome="ok")
        with contextlib.ExitStack() as stack:
            watched = stack.enter_context(daemon.watched())
            for number in range(FLOOD_PROCESSES):
                stack.enter_context(flood("guess", daemon.port, GUESSES_EACH, str(number)))
            began = time.monotonic()
            worst = daemon.worst_scrape(ATTACK_SECONDS)
            seconds = time.monotonic() - began
            done = daemon.value("pollect_source_probes_total", outcome="ok") - probes
        return [
            ("threads", watched.threads, "", 100),
            ("files", watched.files, "", None),
            ("memory above before", watched.megabytes - before.megabytes, "MB", 20),
            ("slowest scrape with the token", worst, "s", 1.0),
            ("probes of LoadAvg missed", max(0.0, int(seconds) - done), "", 0),
        ]


def attack_with_slow_connections(folder: Path) -> list[Row]:
    """500 connections that send a byte a second, to the endpoint and to HttpIngress."""
    ingress = free_port()
    with target(folder, [ingress_section(ingress)]) as daemon:
        before = daemon.now()
        worst_push, refused = 0.0, 0
        with contextlib.ExitStack() as stack:
            watched = stack.enter_context(daemon.watched())
            stack.enter_context(flood("drip", daemon.port, SLOW_CONNECTIONS))
            stack.enter_context(flood("drip", ingress, SLOW_CONNECTIONS))
            worst = daemon.worst_scrape(ATTACK_SECONDS / 2)
            until = time.monotonic() + ATTACK_SECONDS / 2
            while time.monotonic() < until:
                began = time.monotonic()
                refused += push(ingress, "right") != 200
                worst_push = max(worst_push, time.monotonic() - began)
                time.sleep(0.05)
        return [
            ("threads", watched.threads, "", 100),
            ("files", watched.files, "", None),
            ("memory above before", watched.megabytes - before.megabytes, "MB", 20),
            ("slowest scrape", worst, "s", 1.0),
            ("slowest push", worst_push, "s", 1.0),
            ("pushes not taken", refused, "", 0),
        ]


def attack_with_large_pushes(folder: Path) -> list[Row]:
    """300 pushes with labels of 1 MB, then the store filled, and 50 clients that do not read."""
    ingress = free_port()
    with target(folder, [ingress_section(ingress, maxBodySize=2 * LABEL_BYTES)]) as daemon:
        before = daemon.now()
        with daemon.watched() as watched:
            taken = sum(push(ingress, f"{n}" + "x" * LABEL_BYTES) == 200 for n in range(PUSHES))
            worst = daemon.worst_scrape(2)
        large = watched.megabytes - before.megabytes
        with contextlib.ExitStack() as stack:
            filled = stack.enter_context(daemon.watched())
            while (
                push(ingress, *(f"{random.random()}".ljust(1000, "x") for _ in range(500))) == 200
            ):
                pass
            time.sleep(2)
            full = daemon.now().megabytes
            for _ in range(SLOW_READERS):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
                client.sendall(
                    b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer of-the-attack\r\n\r\n"
                )
                time.sleep(0.05)
            daemon.worst_scrape(5)
        return [
            ("pushes taken", taken, "", 0),
            ("threads", watched.threads, "", 100),
            ("memory above before", large, "MB", 50),
            ("slowest scrape", worst, "s", 1.0),
            ("memory, store full (16 MB of labels)", full, "MB", None),
            ("above that, 50 readers that do not read", filled.megabytes - full, "MB", 150),
        ]


def attack_with_endless_output(folder: Path) -> list[Row]:
    """A program of a source that prints without end."""
    section = {"type": "Sensors", "command": ["sh", "-c", "yes"], "timeout": 5}
    with target(folder, [section]) as daemon:
        before = daemon.now()
        probes = daemon.value("pollect_source_probes_total", type="LoadAvg", outcome="ok")
        with daemon.watched() as watched:
            worst = daemon.worst_scrape(ATTACK_SECONDS)
        done = daemon.value("pollect_source_probes_total", type="LoadAvg", outcome="ok") - probes
        return [
            ("threads", watched.threads, "", 100),
            ("memory, the first probes included", watched.megabytes, "MB", 120),
            ("growth meanwhile", daemon.now().megabytes - before.megabytes, "MB", 40),
            ("slowest scrape", worst, "s", 1.0),
            ("probes of LoadAvg missed", max(0.0, int(ATTACK_SECONDS) - done), "", 1),
            ("programs left running", count_children(daemon), "", 1),
        ]


def attack_with_kills(folder: Path) -> list[Row]:
    """20 x kill -9 with a spool, the target away half of the time."""
    backend = InfluxBackend(folder)
    config = write_config(folder, backend, COUNTING_SOURCE, state=folder / "state")
    counter, generator = folder / "counter", random.Random(7)
    stored: set[int] = set()
    excused: set[int] = set()
    backend.come_up()
    for run in range(KILLS + 1):
        if run % 4 == 1:
            backend.go_down()
        elif run % 4 == 3 or run == KILLS:
            with contextlib.suppress(OSError):
                backend.come_up()
        before = int(counter.read_text()) if counter.exists() else -1
        with start("run", "-c", config, folder=folder) as daemon:
            until = before + generator.randint(10, 40)
            while not counter.exists() or int(counter.read_text()) < until:
                time.sleep(0.005)
            if run == KILLS:
                time.sleep(2)
                daemon.stop()
                continue
            daemon.send(signal.SIGKILL)
            daemon.process.wait()
            excused |= last_before(int(counter.read_text()))
            stored.update(on_disk(folder / "state" / "spool", folder / f"kill{run}"))
    backend.close()
    arrived = Counter(backend.arrived())
    missing = set(range(int(counter.read_text()) + 1)) - set(arrived)
    return [
        ("probes", int(counter.read_text()) + 1, "", None),
        ("on disk at kills", len(stored), "", None),
        ("lost of those", len(missing & stored), "", 0),
        ("lost otherwise, not on disk yet", len(missing & excused - stored), "", None),
        ("lost for no reason", len(missing - excused), "", 0),
        ("delivered twice", sum(times > 1 for times in arrived.values()), "", None),
    ]


ATTACKS: dict[str, Callable[[Path], list[Row]]] = {
    "passwords": attack_with_passwords,
    "slow": attack_with_slow_connections,
    "pushes": attack_with_large_pushes,
    "output": attack_with_endless_output,
    "kills": attack_with_kills,
}


def ingress_section(port: int, **more: object) -> dict[str, object]:
    metrics = {"queue": {"labels": ["site"]}}
    place = {"type": "HttpIngress", "bind": "127.0.0.1", "port": port}
    return {**place, "metrics": metrics, "maxSeries": 100_000, **more}


def push(port: int, *sites: str) -> int:
    """Push a value for each site; return the status."""
    entries = [{"value": 1, "labels": {"site": site}} for site in sites]
    body = json.dumps({"metrics": {"queue": entries}}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def count_children(daemon: Target) -> int:
    """Return how many programs the daemon has running."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return sum(len((task / "children").read_text().split()) for task in tasks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every goal is reached."""
    parser = argparse.ArgumentParser(prog="make attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    chosen = parser.parse_args(arguments).attacks or list(ATTACKS)
    missed = False
    for name in chosen:
        attack = ATTACKS[name]
        lines = [["figure", "measured", "goal", ""]]
        with tempfile.TemporaryDirectory(prefix=f"pollect-attack-{name}-") as folder:
            for what, figure, unit, goal in attack(Path(folder)):
                verdict = "" if goal is None else "reached" if figure <= goal else "missed"
                missed = missed or verdict == "missed"
                limit = "" if goal is None else f"<= {goal:g} {unit}".strip()
                lines.append([what, f"{figure:.3g} {unit}".strip(), limit, verdict])
        print(align((attack.__doc__ or name).strip(), lines), end="\n\n", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
