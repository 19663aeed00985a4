"""What every command promises: one line for an error, a code for scripts, no traceback."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_SECONDS, POLLECT, call
from tests.tools.distributions import write_distribution


def install(folder: Path, plugin: str) -> dict[str, str]:
    site = folder / "site"
    write_distribution(site, "pollect-odd", modules={"odd.py": plugin}, plugin="odd")
    return {"PYTHONPATH": str(site)}


def test_version_is_told_as_1x_told_it() -> None:
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, "pollect 2.0.0\n")


def test_help_lists_every_command() -> None:
    done = call("--help")
    assert done.returncode == 0
    for command in ("run", "check", "probe", "plugins", "deps"):
        assert f"\n  {command} " in done.stdout


def test_pollect_alone_shows_its_help(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("executors: []")
    done = call(folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("Usage: pollect ")


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("no-such-command",), ("run", "-x")])
def test_mistake_in_the_command_line_exits_with_2(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert "Error: No such" in done.stderr


def test_a_misspelt_command_is_corrected() -> None:
    done = call("chek", "config.yml")
    assert done.returncode == 2
    assert "no command 'chek', did you mean 'check'?" in done.stderr
    assert "did you mean 'list'?" in call("plugins", "lsit").stderr


def test_options_in_front_of_a_command_are_not_silently_lost(tmp_path: Path) -> None:
    done = call("--config", "other.yml", "run", folder=tmp_path)
    assert done.returncode == 2
    assert "options of run go after its name" in done.stderr


def test_command_of_a_plugin_runs_and_is_listed(tmp_path: Path) -> None:
    plugin = """
import click
from pollect.api import hookimpl

@click.command(help="Say when the tide comes.")
def tide():
    print("at noon")
    return 5

@hookimpl
def pollect_commands():
    return [tide]
"""
    environ = install(tmp_path, plugin)
    done = call("tide", environ=environ)
    assert (done.returncode, done.stdout) == (5, "at noon\n")
    assert "Say when the tide comes." in call("--help", environ=environ).stdout


def test_plugin_cannot_take_the_name_of_a_command(tmp_path: Path) -> None:
    plugin = (
        "import click\nfrom pollect.api import hookimpl\n@hookimpl\n"
        "def pollect_commands(): return [click.Command('check')]\n"
    )
    done = call("--help", environ=install(tmp_path, plugin))
    assert done.returncode == 0
    assert "pollect-odd: its command 'check' is left out, pollect has one" in done.stderr


BUGGY_COMMAND = """
import click
from pollect.api import hookimpl

@click.command()
def tide():
    {}["gone"]

@hookimpl
def pollect_commands():
    return [tide]
"""


def test_bug_is_one_line_and_with_debug_a_traceback(tmp_path: Path) -> None:
    environ = install(tmp_path, BUGGY_COMMAND)
    short = call("tide", environ=environ)
    assert short.returncode == 1
    assert short.stderr.startswith("pollect: internal error: KeyError: 'gone' (please report it")
    long = call("--debug", "tide", environ=environ)
    assert long.returncode == 1
    assert "Traceback" in long.stderr
    assert "KeyError: 'gone'" in long.stderr


def test_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen(
        [POLLECT, "plugins", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_pollect_1x_beside_us_is_refused_with_the_cure(tmp_path: Path) -> None:
    write_distribution(tmp_path, "pollect", version="1.2.3")
    done = call("plugins", "list", environ={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    assert "pollect 1.2.3 (pollect 1.x) is installed in the same environment" in done.stderr
    assert "pip uninstall -y pollect && pip install --force-reinstall" in done.stderr


def imports_of(*arguments: str | Path) -> set[str]:
    """Run `pollect` with arguments; return the modules that its own process imported."""
    python = Path(POLLECT).with_name("python")
    done = subprocess.run(
        [python, "-X", "importtime", POLLECT, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_nothing_is_imported_for_the_version_but_the_command_line() -> None:
    heavy = {"msgspec", "yaml", "stevedore", "pluggy", "importlib.metadata", "packaging"}
    assert not imports_of("--version") & (heavy | {"click", "logging", "pollect.errors"})


def test_version_is_the_same_beside_other_options() -> None:
    assert call("--debug", "--version").stdout == call("--version").stdout


def test_daemon_does_not_hold_what_only_its_start_needs(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        "executors: [{collection: c, sources: [{type: LoadAvg}, {type: DiskUsage}]}]\n"
        "writers: [{type: Prometheus, bind: 127.0.0.1, port: 0}]\n"
    )
    imported = imports_of("run", "--once", "-c", config)
    assert {"pollect.engine.engine", "pollect.support.http_server"} <= imported
    heavy = {"stevedore", "importlib.metadata", "email", "zipfile", "shutil", "ssl", "yaml"}
    assert not imported & (heavy | {"json", "random", "html.entities", "encodings.idna"})


@pytest.mark.parametrize("arguments", ["status", "probe Dummy value=1", "run --once"])
def test_a_working_directory_that_is_gone_is_named(tmp_path: Path, arguments: str) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    (tmp_path / "config.yml").write_text("writer: {type: InMemory}\nexecutors: []\n")
    command = f"rmdir {folder} && exec {POLLECT} {arguments}"
    if arguments == "run --once":
        command += f" -c {tmp_path / 'config.yml'}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "pollect: the working directory no longer exists\n",
    )
