"""The daemon as its users start and stop it."""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import POLLECT, call, scrape, start
from tests.simulators.daemons import free_port
from tests.tools.distributions import write_distribution

CONFIG = """\
tickTime: 0.2
executors:
  - collection: house
    sources:
      - {{type: Dummy, value: {value}, labels: {{room: attic}}}}
writers:
  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
"""

#: A source that the start has to wait for until the test has done its part.
SLOW_SOURCE = """
import os, time
from pollect.api import Source, SourceConfig

class SlowConfig(SourceConfig, frozen=True, kw_only=True):
    value: float

class SlowSource(Source):
    config_type = SlowConfig
    def __init__(self, config, context):
        super().__init__(config, context)
        os.write(2, b"constructing\\n")
        while not os.path.exists("go"):
            time.sleep(0.01)
    def probe(self):
        return 1
"""

#: A plugin whose sources hang: at every probe, at closing, in a thread that Python waits for.
ODD_PLUGIN = """
import atexit, concurrent.futures, os, sys, threading, time
from pollect.api import Source, hookimpl

class HangSource(Source):
    "Never returns."
    def probe(self):
        time.sleep(3600)

class SlowCloseSource(Source):
    "Does not close."
    def probe(self):
        return 1
    def close(self):
        time.sleep(3600)

class ThreadSource(Source):
    "Leaves a thread behind that cannot be ended."
    def open(self):
        threading.Thread(target=time.sleep, args=(3600,), name="forgotten", daemon=False).start()
    def probe(self):
        return 1

class OnceSource(Source):
    def probe(self):
        self.leave()
        os.write(2, b"left behind\\n")
        self.leave = lambda: None
        return 1

class AtExitSource(OnceSource):
    "Hangs when Python ends."
    def leave(self):
        atexit.register(time.sleep, 3600)

class PoolSource(OnceSource):
    "Has a pool whose work does not end."
    def leave(self):
        concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 3600)

class NoStreamsSource(OnceSource):
    "Takes the standard streams away."
    def leave(self):
        sys.stdout.close()
        sys.stdout = sys.stderr = None

@hookimpl
def pollect_sources():
    return [
        HangSource, SlowCloseSource, ThreadSource, AtExitSource, PoolSource, NoStreamsSource
    ]
"""


def write_config(folder: Path, *, value: float = 1, port: int = 0) -> Path:
    file = folder / "config.yml"
    file.write_text(CONFIG.format(value=value, port=port))
    return file


def install_odd_plugin(folder: Path) -> dict[str, str]:
    """Install the plugin whose sources hang and return the environment that finds it."""
    site = folder / "site"
    write_distribution(site, "pollect-odd", modules={"odd.py": ODD_PLUGIN}, plugin="odd")
    return {"PYTHONPATH": str(site)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_serves_values_until_a_signal_and_exits_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    write_config(tmp_path, port=port)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        assert 'house_Dummy{room="attic"} 1.0' in scrape(port)
        assert daemon.stop(number) == 0
    assert "1 source in 1 executor, written by Prometheus" in daemon.output
    assert f"127.0.0.1:{port}" in daemon.output
    assert daemon.output.endswith("[pollect] stopped\n")


@pytest.mark.parametrize(
    "command",
    [
        (POLLECT, "--config", "config.yml"),
        (POLLECT, "-c", "config"),
        (sys.executable, "-m", "pollect", "run", "-c", "config.yml"),
        (POLLECT, "--log-level", "debug", "run"),
    ],
    ids=lambda command: " ".join(Path(word).name for word in command),
)
def test_every_form_of_the_command_line_runs_the_config(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    write_config(tmp_path, port=free_port())
    with start(folder=tmp_path, command=command) as daemon:
        daemon.wait_for("listening on")
        assert daemon.stop() == 0


def test_dry_run_prints_what_1x_printed_and_goes_on_until_stopped(tmp_path: Path) -> None:
    write_config(tmp_path, value=1.5)
    with start("-c", "config", "--dry-run", "--log-level", "warning", folder=tmp_path) as daemon:
        # Twice: it is no one-shot. And no log level hides what it was started for.
        wait_until(lambda: daemon.output.count("Would write") >= 2, "the second tick")
        assert daemon.stop() == 0
    record = (
        r"I \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[DryRunWriter\] \[PrometheusWriter\] Would write "
        r"house\.Dummy \['room'\]\n\t1\.5 \(None, \['attic'\]\)\n"
    )
    assert re.match(record, daemon.output)


def test_dry_run_does_not_need_the_writers_of_the_config(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("Prometheus", "NoSuchWriter"))
    done = call("run", "--dry-run", "--once", folder=tmp_path)
    assert done.returncode == 0
    assert "[NoSuchWriterWriter] Would write house.Dummy" in done.stdout


def test_log_in_a_file_has_no_colours(tmp_path: Path) -> None:
    write_config(tmp_path, port=free_port())
    with start("run", "--debug", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        assert daemon.stop() == 0
    assert "\033" not in daemon.output


def test_once_probes_every_source_once(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = call("run", "--once", "--dry-run", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("Would write") == 1


def test_once_with_a_failing_source_exits_with_1(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("value: 1", "fail: out of order"))
    done = call("run", "--once", "--dry-run", folder=tmp_path)
    assert done.returncode == 1
    assert "out of order" in done.stderr


def test_strict_refuses_what_is_only_a_warning_otherwise(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("value: 1", "value: 1, valeu: 2"))
    warned = call("run", "--once", "--dry-run", folder=tmp_path)
    assert warned.returncode == 0
    assert "executors[0].sources[0].valeu: unknown option" in warned.stderr
    refused = call("run", "--once", "--dry-run", "--strict", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == (
        "config.yml:5:33: executors[0].sources[0].valeu: unknown option (did you mean 'value'?)\n"
    )


def test_port_in_use_is_one_clear_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write_config(tmp_path, port=port)
        done = call("run", folder=tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("pollect: writer Prometheus: ")
    assert line.count(str(port)) == 1, "said once"
    assert "the port is in use; choose another `port`" in line
    assert "Traceback" not in done.stdout


def test_names_that_the_locale_cannot_show_are_no_reason_to_fail(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("room: attic", "räume: küche"), encoding="utf-8")
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = call("run", "--dry-run", "--once", folder=tmp_path, environ=poor)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"r\xe4ume" in done.stdout
    assert r"r\xe4ume" in call("probe", "-c", "config", folder=tmp_path, environ=poor).stdout


def test_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("Dummy, value: 1", "SlowClose"))
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("listening on")
        daemon.send(signal.SIGTERM)
        daemon.wait_for("SIGTERM: stopping")
        time.sleep(0.3)  # a second signal in the same breath counts as one
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM
    assert daemon.output.endswith("pollect: second signal, leaving at once\n")


def test_two_signals_in_one_breath_are_one(tmp_path: Path) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("Dummy, value: 1", "SlowClose"))
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("listening on")
        daemon.send(signal.SIGSTOP)  # however long it takes to send them, it gets both at once
        daemon.send(signal.SIGTERM)
        daemon.send(signal.SIGINT)
        daemon.send(signal.SIGCONT)
        assert daemon.wait() == 0


def test_thread_that_a_plugin_left_behind_does_not_keep_the_process(tmp_path: Path) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("Dummy, value: 1", "Thread"))
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("listening on")
        assert daemon.stop() == 0
    assert "these threads still run: forgotten" in daemon.output


@pytest.mark.parametrize("left", ["AtExit", "Pool"])
def test_what_a_plugin_left_to_the_end_of_python_does_not_keep_the_process(
    tmp_path: Path, left: str
) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("Dummy, value: 1", left))
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("listening on")
        daemon.wait_for("left behind")
        assert daemon.stop() == 0
    assert "a plugin's work at the end of Python hangs" in daemon.output


def test_standard_streams_that_a_plugin_took_away_do_not_fail_the_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("Dummy, value: 1", "NoStreams"))
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("left behind")
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def test_ten_hanging_sources_take_nothing_from_another_nor_from_the_end(tmp_path: Path) -> None:
    port = free_port()
    hanging = "\n".join(
        f"      - {{type: Hang, name: h{number}, timeout: 0.3}}" for number in range(10)
    )
    (tmp_path / "config.yml").write_text(
        f"tickTime: 0.2\n"
        f"writers: [{{type: Prometheus, bind: 127.0.0.1, port: {port}}}]\n"
        f"executors:\n  - collection: house\n    threads: 3\n    sources:\n{hanging}\n"
        f"      - {{type: Dummy, count: 1}}\n"
    )
    with start("run", folder=tmp_path, environ=install_odd_plugin(tmp_path)) as daemon:
        daemon.wait_for("listening on")

        def all_down_and_the_other_goes_on() -> bool:
            page = scrape(port)
            down = re.findall(r"^pollect_source_up\{.*Hang.*\} 0", page, re.MULTILINE)
            probed = re.search(r'^house_Dummy\{i="0"\} (\S+)', page, re.MULTILINE)
            return len(down) == 10 and probed is not None and float(probed[1]) > 3

        wait_until(all_down_and_the_other_goes_on, "ten sources down")
        assert daemon.stop() == 0


def test_broken_plugin_is_named_in_the_log_and_the_rest_runs(tmp_path: Path) -> None:
    write_config(tmp_path, port=free_port())
    site = tmp_path / "site"
    broken = {"broken.py": "raise RuntimeError('no luck')\n"}
    write_distribution(site, "pollect-broken", modules=broken, plugin="broken")
    with start("run", folder=tmp_path, environ={"PYTHONPATH": str(site)}) as daemon:
        daemon.wait_for("listening on")
        assert daemon.stop() == 0
    assert "pollect-broken 1.0: broken fails at import: RuntimeError: no luck" in daemon.output
    assert "pip uninstall pollect-broken" in daemon.output


def test_hangup_takes_up_the_changed_config(tmp_path: Path) -> None:
    port = free_port()
    write_config(tmp_path, value=1, port=port)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        assert "} 1.0" in scrape(port)
        write_config(tmp_path, value=2, port=port)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        wait_until(lambda: 'house_Dummy{room="attic"} 2.0' in scrape(port), "the new value")
        assert daemon.stop() == 0
    assert daemon.output.count("listening on") == 1, "the endpoint did not change and stays open"


def test_hangup_with_a_mistake_in_the_config_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, port=port)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        config.write_text(config.read_text().replace("Dummy", "Dumy"))
        daemon.send(signal.SIGHUP)
        refused = "the config was not reloaded, the old one goes on"
        daemon.wait_for("unknown source type 'Dumy' (did you mean 'Dummy'?)", after=refused)
        assert 'house_Dummy{room="attic"} 1.0' in scrape(port)
        assert daemon.stop() == 0


def test_systemd_hears_of_start_reload_watchdog_and_end(tmp_path: Path) -> None:
    write_config(tmp_path, port=free_port())
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}

        def wait_for(beginning: bytes) -> bytes:
            while not (message := manager.recv(200)).startswith(beginning):
                pass
            return message

        with start("run", folder=tmp_path, environ=environ) as daemon:
            assert wait_for(b"READY=1").endswith(b"1 source in 1 executor, written by Prometheus")
            wait_for(b"WATCHDOG=1")
            daemon.send(signal.SIGHUP)
            assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", wait_for(b"RELOADING=1"))
            wait_for(b"READY=1")
            daemon.send(signal.SIGTERM)
            wait_for(b"STOPPING=1")
            assert daemon.wait() == 0


def test_signal_during_the_start_stops_it_in_order(tmp_path: Path) -> None:
    config = write_config(tmp_path, port=free_port())
    config.write_text(config.read_text().replace("type: Dummy", "type: slow.Slow"))
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "Slow.py").write_text(SLOW_SOURCE)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("constructing")
        daemon.send(signal.SIGTERM)
        (tmp_path / "go").touch()
        assert daemon.wait() == 0
    assert daemon.output.endswith("[pollect] stopped\n")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a process-id namespace")
def test_process_1_of_a_container_stops_when_it_is_told_to(tmp_path: Path) -> None:
    write_config(tmp_path, port=free_port())
    command = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child", POLLECT)
    with start("run", folder=tmp_path, command=command) as daemon:
        daemon.wait_for("listening on")
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
        (child,) = children.read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert daemon.wait() == 0
    assert "SIGTERM: stopping" in daemon.output
