"""What the doctor finds on a machine, with real sockets, files and a fake /dev and /proc."""

import json
import os
import socket
from pathlib import Path

import pytest

from pollect.discovery.registry import Registry
from pollect.operate import machine, network
from pollect.operate.doctor import Me, check_written, examine, lacks_privilege
from pollect.operate.findings import Finding, State
from pollect.operate.survey import Listening, part_of, survey
from pollect.plugin import Roots
from tests.e2e.command import call

#: Somebody without any group or capability.
PLAIN = Me("moss", frozenset([4242]), 0)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for folder in ("dev", "proc/sys/net/ipv4"):
        (tmp_path / folder).mkdir(parents=True)
    return Roots(proc=tmp_path / "proc", dev=tmp_path / "dev")


def findings(tmp_path: Path, roots: Roots, *sources: dict, me: Me = PLAIN) -> list[Finding]:
    """Return what is found for some sources that write nowhere."""
    executors = [{"collection": "box", "sources": list(sources)}]
    file = tmp_path / "config.yml"
    file.write_text(json.dumps({"writer": {"type": "DryRun"}, "executors": executors}))
    found = examine(survey(file), me, roots)
    return [finding for finding in found if finding.subject != "DryRun"]


def test_ping_needs_a_group_in_the_range_or_the_capability(tmp_path: Path, roots: Roots) -> None:
    setting = roots.proc / "sys/net/ipv4/ping_group_range"
    ping = {"type": "Ping", "host": "::1"}
    setting.write_text("1\t0\n")
    (problem,) = findings(tmp_path, roots, ping)
    assert problem.state is State.PROBLEM
    assert problem.what == "moss lacks CAP_NET_RAW for raw sockets"
    assert problem.cure.startswith("sysctl -w net.ipv4.ping_group_range='0 2147483647', or run it")
    setting.write_text("4000\t5000\n")
    assert findings(tmp_path, roots, ping)[0].state is State.FINE
    setting.write_text("1\t0\n")
    capable = Me("moss", frozenset([4242]), 1 << 13)
    assert findings(tmp_path, roots, ping, me=capable)[0].state is State.FINE


def test_drives_decide_on_the_capabilities_of_smartctl(tmp_path: Path, roots: Roots) -> None:
    def lacks() -> set[str]:
        found = findings(tmp_path, roots, {"type": "SmartCtl"})
        return {finding.what.split(" for ")[0] for finding in found if "lacks" in finding.what}

    assert lacks() == set()
    (roots.dev / "sda").touch()
    assert lacks() == {"moss lacks CAP_SYS_RAWIO"}
    (roots.dev / "nvme0").touch()
    assert lacks() == {
        f"moss lacks CAP_{name}" for name in ("SYS_RAWIO", "SYS_ADMIN", "DAC_READ_SEARCH")
    }


def test_init_says_of_a_suggestion_what_this_user_may_not(tmp_path: Path, roots: Roots) -> None:
    (roots.dev / "sda").touch()
    entry = Registry().find("source", "SmartCtl")
    part = part_of("source", {"type": "SmartCtl"}, entry)
    assert lacks_privilege(part, PLAIN, roots) == (
        "moss lacks CAP_SYS_RAWIO for ATA and SAS drives: "
        "run it with the unit of `pollect unit`, which grants it"
    )
    assert lacks_privilege(part, Me("root", frozenset([0]), -1), roots) == ""


def test_a_command_of_the_operators_own_is_looked_for(tmp_path: Path, roots: Roots) -> None:
    (roots.dev / "sda").touch()
    source = {"type": "SmartCtl", "command": "pollect-no-such-sudo -n smartctl"}
    (problem,) = findings(tmp_path, roots, source)
    assert problem.what == "`command` starts pollect-no-such-sudo, which is not installed"
    assert problem.missing
    fine = {"type": "SmartCtl", "command": ["/bin/sh", "-c", "smartctl"]}
    assert findings(tmp_path, roots, fine)[0].state is State.FINE


def test_what_works_without_is_a_note(tmp_path: Path, roots: Roots) -> None:
    (note,) = findings(tmp_path, roots, {"type": "Process", "procRegex": "x"})
    assert note.state is State.NOTE
    assert note.what.endswith("it works without")


def test_an_unknown_type_is_missing(tmp_path: Path, roots: Roots) -> None:
    problem, *_ = findings(tmp_path, roots, {"type": "LodAvg"})
    assert (problem.state, problem.missing) == (State.PROBLEM, True)
    assert "did you mean 'LoadAvg'?" in problem.what


def test_a_file_that_the_config_names_must_be_there(tmp_path: Path, roots: Roots) -> None:
    source = {"type": "Process", "procRegex": "x", "pidFile": "no/such.pid"}
    found = findings(tmp_path, roots, source)
    (problem,) = (finding for finding in found if finding.state is State.PROBLEM)
    assert problem.what == f"{tmp_path}/no/such.pid: does not exist"


def test_a_port_in_use_is_a_problem_that_names_who_has_it(tmp_path: Path, roots: Roots) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = {"type": "HttpIngress", "port": port, "bind": "127.0.0.1", "metrics": {}}
        (finding,) = findings(tmp_path, roots, source)
        assert f"TCP port {port} is in use by " in finding.what
        assert "python" in network.find_owner(Listening("tcp", port))
    assert findings(tmp_path, roots, source)[0].state is State.FINE


def test_an_address_of_another_host_is_a_problem() -> None:
    finding = network.check_port("page", Listening("tcp", 8000, "192.0.2.1"))
    assert finding is not None
    assert finding.what == "TCP port 8000: this host has no address 192.0.2.1"


def test_names_are_taken_from_urls_and_hosts_and_addresses_are_none() -> None:
    options = {
        "url": "https://user:secret@plex.example:32400/x",
        "host": "fritz.box",
        "servers": ["dns.example:53", "192.0.2.1", "::1"],
        "auth": {"url": "http://[fe80::1]/"},
        "path": "/host",
        "name": "attic",
    }
    assert network.hosts_of(options) == {"plex.example", "fritz.box", "dns.example"}


def test_a_name_that_does_not_resolve_names_its_sources(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    sources = [{"type": "Ping", "host": "moss.invalid"}, {"type": "Ping", "host": "localhost"}]
    file.write_text(json.dumps({"executors": [{"collection": "box", "sources": sources}]}))
    (problem,) = network.check_names(survey(file).parts)
    assert problem.subject == "Ping"
    assert problem.what.startswith("the name moss.invalid cannot be resolved: ")


def test_secrets_that_everybody_can_read_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "token"
    secret.write_text("moss-and-fern")
    secret.chmod(0o644)
    file = tmp_path / "config.yml"
    file.write_text(json.dumps({"a": f"${{file:{secret}}}", "b": "${MOSS_IS_UNSET}"}))
    monkeypatch.delenv("MOSS_IS_UNSET", raising=False)
    note, problem = machine.check_secrets(survey(file))
    assert note == Finding(
        State.NOTE, "secrets", f"{secret}: anyone can read it", f"chmod 600 {secret}"
    )
    assert problem.what == "variable MOSS_IS_UNSET is not set"


def test_a_state_folder_that_others_may_write_to_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    found = {finding.subject: finding for finding in machine.check_machine(tmp_path)}
    assert found["state folder"].what == f"{tmp_path}: others may write to it"
    tmp_path.chmod(0o700)
    found = {finding.subject: finding for finding in machine.check_machine(tmp_path / "new")}
    assert found["state folder"].what == f"{tmp_path}/new, made at the first start"
    assert found["free space"].state is State.FINE


def test_a_folder_that_cannot_be_made_is_not_cured_by_giving_its_parent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert check_written(tmp_path / "file" / "state") == (
        f"{tmp_path}/file is not a folder",
        "name another path in the config",
    )
    assert check_written(tmp_path / "a" / "b") is None
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write everywhere
    assert check_written(tmp_path / "a" / "b") == (
        f"cannot be made by this user, who may not write to {tmp_path}",
        "make it and chown it, or name another one in the config",
    )
    assert check_written(tmp_path) == (
        "cannot be written by this user",
        f"chown it, see `ls -ld {tmp_path}`",
    )


def test_the_command_prints_a_table_and_json_and_says_it_with_its_exit_code(tmp_path: Path) -> None:
    good = {"writer": {"type": "DryRun"}, "executors": [{"collection": "box", "sources": []}]}
    good["executors"][0]["sources"].append({"type": "LoadAvg"})  # type: ignore[index]
    (tmp_path / "config.yml").write_text(json.dumps(good))
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = call("doctor", "-c", "config.yml", folder=tmp_path, environ=environ)
    assert (done.returncode, "LoadAvg" in done.stdout) == (0, True), done.stdout + done.stderr
    assert done.stderr.startswith("nothing is missing, as user ")
    good["executors"][0]["sources"].append({"type": "LodAvg"})  # type: ignore[index]
    (tmp_path / "config.yml").write_text(json.dumps(good))
    done = call("doctor", "-c", "config.yml", "--json", folder=tmp_path, environ=environ)
    assert done.returncode == 3
    rows = json.loads(done.stdout)
    assert {"config", "LodAvg"} == {row["subject"] for row in rows if row["state"] == "problem"}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_looks_with_the_eyes_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        '{"writer": {"type": "DryRun"}, "executors": [{"collection": "b", "sources": []}]}'
    )
    done = call("doctor", "-c", "config.yml", "--user", "nobody", folder=tmp_path)
    assert done.returncode == 1, (
        "that user has no state folder, and may be unable to read this Python"
    )
    assert "nobody cannot read" in done.stdout or "by this user" in done.stdout
    done = call("doctor", "-c", "config.yml", "--user", "no-such-user", folder=tmp_path)
    assert done.stderr == "pollect: there is no user 'no-such-user'\n"
