"""`pollect init` on a new host, and `pollect run` on what it wrote."""

import re
import socket
from pathlib import Path

import pytest

from tests.e2e.command import call, scrape, start
from tests.e2e.fresh_environment import FreshEnvironment


def test_what_init_writes_is_right_and_runs(tmp_path: Path) -> None:
    made = call("init", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "next: pollect run -c config.yml" in made.stdout
    assert call("check", folder=tmp_path).returncode == 0

    port = suggested_port((tmp_path / "config.yml").read_text())
    with start("run", "-c", "config.yml", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        text = scrape(port)
        assert 'pollect_LoadAvg{time="short"}' in text
        assert 'pollect_MemoryUsage{type="used"}' in text
        assert daemon.stop() == 0
        assert "WARNING" not in daemon.output


def suggested_port(text: str) -> int:
    return int(re.findall(r"^    port: (\d+)$", text, re.MULTILINE)[0])


def test_init_takes_a_port_that_is_free(tmp_path: Path) -> None:
    first = suggested_port(call("init", "-", folder=tmp_path).stdout)
    with socket.create_server(("0.0.0.0", first)):
        second = suggested_port(call("init", "-", folder=tmp_path).stdout)
    assert second != first
    assert list(tmp_path.iterdir()) == [], "the config was only printed"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("mine")
    refused = call("init", folder=tmp_path)
    assert refused.returncode == 2
    assert "is there already" in refused.stderr
    assert file.read_text() == "mine"


@pytest.mark.timeout(300)
def test_init_beside_a_core_that_is_alone_says_what_to_install_or_installs_it(
    tmp_path: Path, own_wheels: Path
) -> None:
    fresh = FreshEnvironment(tmp_path / "venv", own_wheels)
    fresh.pip("install", "pollect-core")
    refused = fresh.pollect("init", folder=tmp_path)
    assert refused.returncode == 3
    assert refused.stderr == (
        "pollect: nothing that is installed can read this host: "
        "pip install pollect-sources-system pollect-writers, or run `pollect init --install`\n"
    )
    assert not (tmp_path / "config.yml").exists()

    assert "Plex" not in fresh.pollect("plugins", "list", folder=tmp_path).stdout
    listed = fresh.pollect("plugins", "list", "--available", folder=tmp_path).stdout
    assert re.search(r"^Plex +source +pollect-sources-home +not installed ", listed, re.MULTILINE)
    assert "  Plex: pip install pollect-sources-home\n" in listed

    made = fresh.pollect("init", "--install", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    checked = fresh.pollect("check", folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
