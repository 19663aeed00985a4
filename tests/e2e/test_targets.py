"""A daemon whose targets come from inventories, and what `check` says of them."""

import json
import os
import re
from pathlib import Path

from pollect.testing.http import HttpResponse, serve_http
from pollect.testing.servers import serve_tcp, stay_silent
from pollect.testing.waiting import wait_until
from tests.e2e.command import call, scrape, start
from tests.simulators.daemons import free_port

CONFIG = """\
tickTime: 0.5
executors:
  - collection: net
    sources:
      - type: TcpTime
        timeout: 5
        targets: {{file: "sd/*.json", http: {http}, refreshInterval: 1s}}
writer: {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
"""


def write(file: Path, data: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(data if isinstance(data, str) else json.dumps(data))
    os.replace(new, file)


def targets_shown(port: int) -> set[str]:
    return set(re.findall(r'net_TcpTime_success\{.*target="([^"]+)"\} 1\.0', scrape(port)))


def value(port: int, name: str) -> float:
    (found,) = re.findall(rf"^{name}\{{.*\}} (\S+)$", scrape(port), re.MULTILINE)
    return float(found)


def wait_for(port: int, *wanted: str) -> None:
    wait_until(lambda: targets_shown(port) == set(wanted), f"{wanted}", limit_seconds=60)


def test_targets_are_taken_up_and_withdrawn_without_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with (
        serve_tcp(stay_silent) as one,
        serve_tcp(stay_silent) as two,
        serve_http({"/sd": [{"targets": [two.address], "labels": {"rack": "r2"}}]}) as inventory,
    ):
        file = tmp_path / "sd" / "a.json"
        write(file, [{"targets": [one.address], "labels": {"rack": "r1"}}])
        config = tmp_path / "config.yml"
        config.write_text(CONFIG.format(http=f"{inventory.url}/sd", port=port))
        old = tmp_path / "state" / "pollect" / "targets-0123456789abcdef.json"
        write(old, [])
        os.utime(old, (0, 0))
        with start("run", "-c", config, folder=tmp_path) as daemon:
            daemon.wait_for("listening")
            daemon.wait_for(f"removed {old}: no inventory has used it for 30 days")
            wait_for(port, one.address, two.address)
            line = f'net_TcpTime_success{{rack="r1",target="{one.address}"}} 1.0'
            assert line in scrape(port)
            up = f'collection="net",name="",target="{one.address}",type="TcpTime"'
            assert f"pollect_source_up{{{up}}} 1.0" in scrape(port)
            assert value(port, "pollect_targets") == 2

            inventory.routes = {"/sd": []}
            wait_for(port, one.address)
            write(file, "[")
            wait_until(lambda: value(port, "pollect_targets_last_refresh_successful") == 0,
                       "the trouble", limit_seconds=60)  # fmt: skip
            inventory.routes = {"/sd": HttpResponse("", status=500)}
            assert targets_shown(port) == {one.address}

            write(file, [{"targets": [two.address, two.address, 7]}])
            wait_for(port, two.address)
            assert value(port, "pollect_targets_rejected") == 2
            daemon.wait_for("a.json:1:")
            assert daemon.stop() == 0
        assert "Traceback" not in daemon.output


def test_a_single_round_asks_the_url_first(tmp_path: Path) -> None:
    with serve_tcp(stay_silent) as one, serve_http({"/sd": [{"targets": [one.address]}]}) as web:
        config = tmp_path / "config.yml"
        config.write_text(CONFIG.format(http=f"{web.url}/sd", port=free_port()))
        done = call("run", "--once", "--dry-run", "-c", config, folder=tmp_path)
        probed = call("probe", "-c", config, folder=tmp_path)
    assert f"1.0 ('success', ['{one.address}'])" in done.stdout
    assert done.returncode == probed.returncode == 0
    assert one.address in probed.stdout


def test_check_names_every_bad_entry_and_asks_no_url(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(CONFIG.format(http="http://127.0.0.1:1/sd", port=8080))
    write(tmp_path / "sd" / "a.json", [{"targets": ["a:1", 5]}, {"targets": ["b"]}])
    write(tmp_path / "sd" / "b.json", "[{")
    done = call("check", config, folder=tmp_path)
    assert done.returncode == 2
    folder = tmp_path / "sd"
    assert done.stderr.splitlines() == [
        f"{config}:7:9: executors[0].sources[0].targets: {folder}/b.json: is not valid JSON: "
        "expecting property name enclosed in double quotes in line 1",
        f"{folder}/a.json:1:22: [0].targets[1]: expected text, got 5",
        f"{folder}/a.json:1:40: [1].targets[0].port: expected a port",
    ]
    write(tmp_path / "sd" / "a.json", [{"targets": ["a:1"]}])
    (folder / "b.json").unlink()
    assert call("check", config, folder=tmp_path).returncode == 0


def test_an_inventory_is_checked_beside_another_mistake(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    sources = (
        "{type: Ping, targets: {file: gone.json}}",
        "{type: Process, name: web, procRegex: '('}",
    )
    config.write_text(
        "writer: {type: DryRun}\nexecutors:\n- collection: net\n  sources:\n"
        + "".join(f"  - {source}\n" for source in sources)
    )
    done = call("check", config, folder=tmp_path)
    places = [line.partition(" ")[0] for line in done.stderr.splitlines()]
    assert places == [f"{config}:5:18:", f"{config}:6:32:"], done.stderr
