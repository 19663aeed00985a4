"""Alerts of the real daemon: a disk that fills and a source that dies, across a restart."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.testing import serve_http
from pollect.testing.waiting import wait_until
from tests.e2e.command import call, start
from tests.simulators import ntfy as ntfy_server

SOURCE = """
from pathlib import Path
from pollect.api import Metric, Source, SourceConfig, TargetUnavailable

class GaugeConfig(SourceConfig, frozen=True, kw_only=True):
    file: str

class GaugeSource(Source[GaugeConfig]):
    config_type = GaugeConfig
    metrics = (Metric("level", help="Level."),)

    def probe(self):
        try:
            return {"level": float(Path(self.config.file).read_text())}
        except OSError as error:
            raise TargetUnavailable("the gauge does not answer") from error
"""
CONFIG = """
tickTime: 0.2
stateDir: state
executors:
  - collection: home
    sources:
      - {{type: DiskUsage, disks: ["{disk}"]}}
      - {{type: gauge.Gauge, file: "{gauge}"}}
writers:
  - type: Notify
    to: ["{to}"]
    wait: 0.5
    rules:
      - {{source: "home/gauge*", state: down, for: 1s}}
      - {{metric: home_DiskUsage, labels: {{type: free}}, shareOf: {{type: total}}, below: 0.2,
         for: 1s, name: DiskFull}}
"""


def write_source(folder: Path) -> None:
    (folder / "gauge").mkdir()
    (folder / "gauge" / "Gauge.py").write_text(SOURCE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_and_a_source_that_dies_are_output_once_across_a_restart(
    tmp_path: Path, disk: Path
) -> None:
    write_source(tmp_path)
    gauge, ballast = tmp_path / "level", disk / "ballast"
    gauge.write_text("3")
    config = tmp_path / "config.yml"
    with ntfy_server.running() as ntfy:
        config.write_text(CONFIG.format(disk=disk, gauge=gauge, to=ntfy.url))

        def wait_for(count: int) -> None:
            wait_until(lambda: len(ntfy.messages) >= count, f"message {count}")

        with start("run", "-c", config, folder=tmp_path) as daemon:
            ballast.write_bytes(b"x" * 7_500_000)
            wait_for(1)
            gauge.unlink()
            wait_for(2)
            assert daemon.stop() == 0
        with start("run", "-c", config, folder=tmp_path) as daemon:
            ballast.unlink()
            wait_for(3)
            gauge.write_text("4")
            wait_for(4)
            assert daemon.stop() == 0
            output = daemon.output
        titles = [message["title"] for message in ntfy.messages]

    assert "hush-password" not in output
    assert [": problem: " in title for title in titles] == [True, True, False, False]
    assert "home_DiskUsage" in titles[0]
    assert "home/gauge.Gauge is down: the gauge does not answer" in titles[1]
    assert ": over: home_DiskUsage" in titles[2]
    assert ": over: home/gauge.Gauge" in titles[3]


def test_check_finds_the_mistakes_of_rules_and_addresses(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    head = "writers:\n  - type: Notify\n    to: [{to}]\n    rules:\n      - {rule}\n"
    rest = "executors:\n  - {collection: c, sources: [{type: Dummy, value: {type: random}}]}\n"

    def check(to: str, rule: str) -> str:
        config.write_text(head.replace("{to}", to).replace("{rule}", rule) + rest)
        done = call("check", config)
        assert done.returncode == 2, done.stdout
        return done.stderr

    output = check('"json://127.0.0.1/"', '{metric: "a", above: 3, for: soon}')
    assert "config.yml:5:" in output
    assert "writers[0].rules[0].for: expected a duration" in output
    output = check('"pigeon://secret-loft/"', "defaults")
    assert "writers[0].to[0]: expected a URL that apprise knows" in output
    assert "secret-loft" not in output


def test_notify_sends_a_message_and_says_where_it_did_not_arrive(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    with ntfy_server.running() as ntfy, serve_http({}) as broken:
        broken_url = f"json://me:hush-password@{broken.address}/"
        config.write_text(
            CONFIG.format(disk="/", gauge="x", to=ntfy.url).replace(
                f'["{ntfy.url}"]', f'["{ntfy.url}", "{broken_url}"]'
            )
        )
        write_source(tmp_path)
        done = call("notify", "--test", config, folder=tmp_path)

    assert done.returncode == 1
    assert "to[0] (ntfy): sent" in done.stdout + done.stderr
    assert "to[1] (JSON): " in done.stderr
    assert "hush-password" not in done.stdout + done.stderr
    assert "pollect can reach you" in ntfy.messages[0]["message"]
