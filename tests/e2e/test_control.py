"""The command line of a running daemon: status, explain, reload, probe --now, and two of them."""

import json
import os
import re
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.e2e.command import call, scrape, start
from tests.simulators.daemons import free_port

CONFIG = """\
tickTime: 300
stateDir: state
writer: {type: Prometheus, port: %d, bind: 127.0.0.1}
executors:
  - collection: home
    labels: {site: attic}
    sources:
      - type: Dummy
        name: lamp
        value: 21
      - type: Http
        name: shop
        url: %s
        timeout: 2
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    (tmp_path / "config.yml").write_text(CONFIG % (port, f"http://127.0.0.1:{free_port()}/"))
    return tmp_path


@pytest.fixture
def daemon(folder: Path):
    with start("run", "-c", "config.yml", folder=folder) as running:
        running.wait_for("listening on")
        running.wait_for("home/Http/shop")
        yield running


def test_status_shows_every_source_and_writer_and_fails_only_for_what_is_down(
    daemon, folder: Path
) -> None:
    shown = call("status", "-c", "config.yml", folder=folder)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].endswith("1 troubled, 1 up")
    assert lines[1].startswith(f"config {folder / 'config.yml'}, read ")
    assert any(line.startswith("troubled  home/Http/shop") for line in lines)
    assert "Connection refused" in shown.stdout
    assert any(line.startswith("up     Prometheus") for line in lines)
    answer = json.loads(call("status", "--json", folder=folder).stdout)
    assert answer["counts"] == {
        "up": 1,
        "troubled": 1,
        "down": 0,
        "new": 0,
        "elsewhere": 0,
    }


def test_status_without_a_daemon_says_where_it_looked(folder: Path) -> None:
    shown = call("status", "-c", "config.yml", folder=folder)
    assert shown.returncode == 1
    assert f"no pollect runs with the state folder {folder / 'state'}" in shown.stderr


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_daemon(daemon, folder: Path) -> None:
    control = folder / "state" / "control.sock"
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "state").stat().st_mode) == 0o700
    assert daemon.stop() == 0
    assert not control.exists()


def test_the_socket_works_below_a_path_of_any_length(tmp_path: Path, port: int) -> None:
    folder = tmp_path / ("long" * 20) / ("path" * 20)
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text(CONFIG % (port, f"http://127.0.0.1:{free_port()}/"))
    with start("run", "-c", "config.yml", folder=folder) as running:
        running.wait_for("home/Http/shop")
        assert call("status", "-c", "config.yml", folder=folder).returncode == 0


def test_explain_says_where_a_metric_stands_and_what_became_of_it(daemon, folder: Path) -> None:
    shown = call("explain", "home_Http_shop_success", "-c", "config.yml", folder=folder)
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout
    assert "home/Http/shop (pollect-sources-network 2" in text
    assert f"{folder / 'config.yml'}:11 (executors[0].sources[1])" in text
    assert "troubled: http://127.0.0.1" in text
    assert "every 300 s" in text or "every 5 min" in text
    assert "writer Prometheus  up" in text
    assert "site=attic: no" in text
    unknown = call("explain", "home_Nothing", "-c", "config.yml", folder=folder)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no source has a metric 'home_Nothing'; there are: home_Dummy_lamp" in unknown.stderr
    misspelt = call("explain", "home_Dummy_lmap", folder=folder)
    assert "no source has a metric 'home_Dummy_lmap'; did you mean 'home_Dummy_lamp'?" in (
        misspelt.stderr
    )
    # What begins as its metrics do is a source, whether it has this metric or not.
    shown = call("explain", "home_Http_shop_gone", folder=folder)
    assert "no values now under this name; the source has home_Http_shop, " in shown.stdout


def test_reload_waits_and_says_what_changed(daemon, folder: Path, port: int) -> None:
    config = folder / "config.yml"
    assert call("reload", "-c", "config.yml", folder=folder).stdout == "nothing changed\n"
    text = (
        config.read_text().replace("name: lamp", "name: bulb").replace("timeout: 2", "timeout: 3")
    )
    config.write_text(text)
    done = call("reload", "-c", "config.yml", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "source home/Dummy/bulb added",
        "source home/Http/shop changed",
        "source home/Dummy/lamp removed",
    ]
    assert "pollect_config_last_reload_successful 1" in scrape(port)


def test_a_reload_with_mistakes_says_them_and_is_reported_until_one_succeeds(
    daemon, folder: Path, port: int
) -> None:
    config = folder / "config.yml"
    good = config.read_text()
    config.write_text(good.replace("timeout: 2", "timeout: -2"))
    done = call("reload", "-c", "config.yml", folder=folder)
    assert done.returncode == 2
    assert "config.yml:14:" in done.stderr
    assert "timeout: expected a number above 0, got -2" in done.stderr
    assert "the old one goes on" in done.stderr
    assert "pollect_config_last_reload_successful 0" in scrape(port)
    assert "got -2" in call("status", "-c", "config.yml", folder=folder).stdout
    config.write_text(good)
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded: now runs")
    assert call("reload", "-c", "config.yml", folder=folder).returncode == 0
    assert "pollect_config_last_reload_successful 1" in scrape(port)


def test_probe_now_probes_out_of_turn_in_the_daemon(daemon, folder: Path, port: int) -> None:
    before = "pollect_source_probes_total"
    done = call("probe", "--now", "lamp", "-c", "config.yml", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "home_Dummy_lamp" in done.stdout
    probes = [line for line in scrape(port).splitlines() if line.startswith(before)]
    lamp = next(line for line in probes if 'name="lamp",outcome="ok"' in line)
    assert lamp.endswith(" 2.0")
    troubled = call("probe", "--now", "home/Http/shop", "-c", "config.yml", folder=folder)
    assert troubled.returncode == 1
    assert "home/Http/shop: troubled: http://127.0.0.1" in troubled.stderr
    unknown = call("probe", "--now", "nothing", "-c", "config.yml", folder=folder)
    assert "no source 'nothing'; there are: home/Dummy/lamp, home/Http/shop" in unknown.stderr
    misspelt = call("probe", "--now", "home/Http/shpo", folder=folder)
    assert "no source 'home/Http/shpo'; did you mean 'home/Http/shop'?" in misspelt.stderr


def test_a_service_listens_in_its_run_folder_and_is_found_there(folder: Path) -> None:
    run = folder / "run"
    environ = {"RUNTIME_DIRECTORY": str(run)}
    with start("run", "-c", "config.yml", folder=folder, environ=environ) as daemon:
        daemon.wait_for("listening on")
        [control] = run.glob("control-*.sock")
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        assert not (folder / "state" / "control.sock").exists()
        # By what is noted in the state folder, and by the environment of the service.
        for known in ({}, environ):
            shown = call("status", "-c", "config.yml", folder=folder, environ=known)
            assert shown.returncode == 0, shown.stderr
        assert daemon.stop() == 0
    assert not control.exists()


def test_with_a_state_folder_that_cannot_be_written_it_listens_in_the_user_s_run_folder(
    folder: Path,
) -> None:
    text = (folder / "config.yml").read_text().replace("stateDir: state", "stateDir: /proc/none")
    (folder / "config.yml").write_text(text)
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    with start("run", "-c", "config.yml", folder=folder, environ=environ) as daemon:
        daemon.wait_for("listening on")
        shown = call("status", "-c", "config.yml", folder=folder, environ=environ)
        assert shown.returncode == 0, shown.stderr
        assert [*(folder / "pollect").glob("control-*.sock")]
        other = folder / "other"
        other.mkdir()
        (other / "config.yml").write_text(re.sub(r"port: \d+", "port: 0", text))
        with start("run", "-c", "config.yml", folder=other, environ=environ) as second:
            second.wait_for("is in use by another pollect")


def test_a_second_daemon_with_the_same_state_folder_says_so(daemon, folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    text = (CONFIG % (free_port(), "http://127.0.0.1:9/")).replace(
        "stateDir: state", f"stateDir: {folder / 'state'}"
    )
    (other / "config.yml").write_text(text)
    with start("run", "-c", "config.yml", folder=other) as second:
        second.wait_for("is in use by another pollect")
        assert f"process {daemon.process.pid}, {folder / 'config.yml'}" in second.output
        (other / "config.yml").write_text(text.replace(str(folder / "state"), "state"))
        second.send(signal.SIGHUP)
        second.wait_for("reloaded: ")
        assert call("status", "-c", "config.yml", folder=other).returncode in (0, 1)
        assert (other / "state" / "control.sock").exists()
        assert second.stop() == 0
    # The first goes on answering.
    assert call("status", "-c", "config.yml", folder=folder).returncode == 0


def test_a_daemon_that_was_killed_leaves_nothing_in_the_way(folder: Path) -> None:
    with start("run", "-c", "config.yml", folder=folder) as first:
        first.wait_for("home/Http/shop")
        first.process.kill()
        first.wait()
    assert (folder / "state" / "control.sock").exists()
    gone = call("status", "-c", "config.yml", folder=folder)
    assert "no pollect runs" in gone.stderr
    with start("run", "-c", "config.yml", folder=folder) as second:
        second.wait_for("home/Http/shop")
        assert "in use" not in second.output
        assert call("status", "-c", "config.yml", folder=folder).returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"status\n",
        b"[]\n",
        b"[" * 30000 + b"\n",
        b'{"command": "stop"}\n',
        b'{"command": {}}\n',
        b"\xff\n",
    ],
)
def test_rubbish_on_the_socket_is_answered_and_harms_nothing(
    daemon, folder: Path, line: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        here = os.getcwd()
        os.chdir(folder / "state")
        try:
            client.connect("control.sock")
        finally:
            os.chdir(here)
        client.sendall(line)
        answer = json.loads(client.recv(65536))
    assert "expected a command as JSON" in answer["error"]
    assert call("status", "-c", "config.yml", folder=folder).returncode == 0


def test_silent_clients_keep_nobody_from_asking(daemon, folder: Path) -> None:
    path = f"/proc/self/fd/{os.open(folder / 'state', os.O_RDONLY)}/control.sock"
    clients = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    try:
        for client in clients:
            client.connect(path)
        assert call("status", "-c", "config.yml", folder=folder).returncode == 0
    finally:
        for client in clients:
            client.close()
        os.close(int(path.split("/")[4]))


def test_the_socket_follows_the_state_folder_of_a_reload(daemon, folder: Path) -> None:
    config = folder / "config.yml"
    config.write_text(config.read_text().replace("stateDir: state", "stateDir: elsewhere"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded: ")
    assert "home/Dummy/lamp" in call("status", "-c", "config.yml", folder=folder).stdout
    assert not (folder / "state" / "control.sock").exists()


def test_a_reload_brings_back_a_socket_whose_folder_was_removed(daemon, folder: Path) -> None:
    shutil.rmtree(folder / "state")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded: ")
    assert "home/Dummy/lamp" in call("status", "-c", "config.yml", folder=folder).stdout
    assert daemon.stop() == 0
    assert not (folder / "state" / "control.sock").exists()
