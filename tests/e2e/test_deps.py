"""`pollect deps`: what to install, before and after it is installed."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.command import call
from tests.e2e.fresh_environment import FreshEnvironment
from tests.tools.distributions import write_distribution, write_wheel

ROOT = Path(__file__).parents[2]

CONFIG = """\
executors:
  - collection: house
    sources:
      - {type: LoadAvg}
      - {type: Dummy, value: 1}
      - {type: extensions.Tide}
      - {type: "${SOURCE:-SmartCtl}", enabled: false}
      - {type: SnmpGet, host: router, metrics: [{name: x, oid: 1.3}]}
    writer: {type: Prometheus, port: 0}
writers: [{type: DryRun}]
"""


def write_config(folder: Path, text: str = CONFIG) -> None:
    (folder / "config.yml").write_text(text)


def test_lines_merge_the_extras_and_programs_follow_as_comments(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = call("deps", "config.yml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "pollect-core>=2.0",
        "pollect-sources-network[snmp]>=2.0",
        "pollect-sources-system>=2.0",
        "pollect-writers>=2.0",
    ]
    assert "# SmartCtl: program smartctl, apt install smartmontools" in lines


def test_form_of_1x_prints_the_same_and_forgives_unknown_types(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG.replace("LoadAvg", "LodAvg"))
    old = call("--config", "config", "--dependencies", folder=tmp_path)
    new = call("deps", folder=tmp_path)
    assert old.stdout == new.stdout
    assert (old.returncode, new.returncode) == (0, 3)
    assert (
        old.stderr
        == new.stderr
        == (
            "config.yml:4:10: executors[0].sources[0].type: unknown source type 'LodAvg' "
            "(did you mean 'LoadAvg'?)\n"
        )
    )


def test_expand_adds_what_lies_behind_the_distributions(tmp_path: Path) -> None:
    write_config(tmp_path)
    lines = call("deps", "--expand", "config.yml", folder=tmp_path).stdout.splitlines()
    (psutil,) = (line for line in lines if line.startswith("psutil"))
    assert psutil.endswith("  # pollect-sources-system")
    assert any(line.startswith("gufo-snmp") for line in lines)
    (client,) = (line for line in lines if line.startswith("prometheus-client"))
    assert client.endswith("  # pollect-writers")
    assert not any(line.startswith("pluggy") for line in lines), "the core's own needs are no news"


def test_system_prints_debian_packages_only(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert call("deps", "--system", folder=tmp_path).stdout == "smartmontools\n"


def test_missing_leaves_out_what_is_there(tmp_path: Path) -> None:
    site = tmp_path / "site"
    plugin = (
        "from pollect.api import SourceSpec, hookimpl\n@hookimpl\ndef pollect_sources():\n"
        "    return [SourceSpec('Tide', 'm:C', extra='sonar'), SourceSpec('Ebb', 'm:C')]\n"
    )
    extras = {"sonar": ["no-such-library"]}
    write_distribution(
        site, "pollect-tide", modules={"tide.py": plugin}, plugin="tide", extras=extras
    )
    write_config(tmp_path, CONFIG.replace("LoadAvg", "Tide").replace("SnmpGet", "Ebb"))
    environ = {"PYTHONPATH": str(site), "SOURCE": "Dummy"}
    done = call("deps", "--missing", folder=tmp_path, environ=environ)
    assert done.stdout == "pollect-tide[sonar]>=1.0\n"


def test_nothing_missing_is_nothing_to_install(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG.replace("SnmpGet", "Dummy"))
    done = call("deps", "--install", folder=tmp_path, environ={"SOURCE": "Dummy"})
    assert (done.returncode, done.stdout) == (0, "nothing to install\n")


def test_config_that_cannot_be_read_is_told_with_its_place(tmp_path: Path) -> None:
    write_config(tmp_path, "executors: [}")
    done = call("deps", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("config.yml:1:13: ")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, own_wheels: Path) -> Path:
    """Return a folder with pollect's own wheels, for others beside them."""
    return Path(shutil.copytree(own_wheels, tmp_path_factory.mktemp("deps") / "wheels"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> FreshEnvironment:
    """Return an environment with pollect-core and nothing else of pollect."""
    environment = FreshEnvironment(tmp_path_factory.mktemp("fresh") / "venv", wheels)
    environment.pip("install", "pollect-core")
    return environment


@pytest.mark.timeout(600)
def test_bare_core_knows_what_to_install_and_then_runs(
    tmp_path: Path, bare: FreshEnvironment
) -> None:
    write_config(tmp_path)
    before = bare.pollect("deps", "config.yml", folder=tmp_path)
    assert (before.returncode, before.stderr) == (0, "")
    assert before.stdout == call("deps", "config.yml", folder=tmp_path).stdout
    shown = bare.pollect("plugins", "show", "SmartCtl", folder=tmp_path)
    assert shown.returncode == 3
    assert "To get it: pip install pollect-sources-system\n" in shown.stdout

    write_config(
        tmp_path,
        "executors: [{collection: house, sources: [{type: LoadAvg}]}]\n"
        "writers: [{type: Prometheus, bind: 127.0.0.1, port: 0}]\n",
    )
    missing = bare.pollect("run", "--once", folder=tmp_path)
    assert missing.returncode == 3
    assert "it is in pollect-sources-system: pip install pollect-sources-system" in missing.stderr
    needed = bare.pollect("deps", folder=tmp_path).stdout
    (tmp_path / "requirements.txt").write_text(needed)
    bare.pip("install", "-r", str(tmp_path / "requirements.txt"))
    done = bare.pollect("run", "--once", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "listening on" in done.stderr


@pytest.mark.timeout(600)
def test_install_asks_and_then_shows_what_pip_does(
    tmp_path: Path, wheels: Path, bare: FreshEnvironment
) -> None:
    plugin = (
        "from pollect.api import SourceSpec, hookimpl\n@hookimpl\ndef pollect_sources():\n"
        "    return [SourceSpec('Tide', 'm:C', extra='sonar')]\n"
    )
    write_wheel(wheels, "sonar-library", version="2.0")
    wheel = write_wheel(
        wheels,
        "pollect-tide",
        modules={"tide.py": plugin},
        plugin="tide",
        extras={"sonar": ["sonar-library>=2"]},
    )
    bare.pip("install", "--no-deps", str(wheel))
    write_config(
        tmp_path,
        "executors: [{collection: house, sources: [{type: Tide}]}]\nwriters: [{type: DryRun}]\n",
    )
    refused = bare.pollect("deps", "--install", folder=tmp_path)
    assert refused.returncode != 0, "the question was not answered"
    assert bare.pollect("deps", "--missing", folder=tmp_path).stdout == (
        "pollect-tide[sonar]>=1.0\n"
    )
    done = bare.pollect("deps", "--install", "--yes", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Successfully installed sonar-library-2.0" in done.stdout
    assert bare.pollect("deps", "--missing", folder=tmp_path).stdout == ""


@pytest.mark.timeout(600)
def test_check_names_the_two_plugins_that_disagree(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    site = tmp_path / "site"
    for version in ("1.5", "2.5"):
        write_wheel(wheels, "sonar-library", version=version)
    needs = {"low": "sonar-library<2", "high": "sonar-library>=2", "any": "sonar-library"}
    types = {"low": "Ebb", "high": "Flood", "any": "Tide"}
    for name, requirement in needs.items():
        plugin = (
            "from pollect.api import SourceSpec, hookimpl\n@hookimpl\ndef pollect_sources():\n"
            f"    return [SourceSpec({types[name]!r}, 'm:C', extra='sonar')]\n"
        )
        modules, extras = {f"{name}.py": plugin}, {"sonar": [requirement]}
        for write, place in ((write_distribution, site), (write_wheel, wheels)):
            write(place, f"pollect-{name}", modules=modules, plugin=name, extras=extras)
    environ = {
        "PYTHONPATH": str(site),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    config = "executors: [{collection: h, sources: [%s]}]\nwriters: [{type: DryRun}]\n"
    write_config(tmp_path, config % "{type: Ebb}, {type: Tide}, {type: Flood}, {type: Dummy}")
    done = call("deps", "--check", folder=tmp_path, environ=environ)
    assert done.returncode == 3
    first, *reasons = done.stderr.splitlines()
    assert first in (
        "pollect-high[sonar] (for Flood) and pollect-low[sonar] (for Ebb) "
        "cannot be installed together:",
        "pollect-low[sonar] (for Ebb) and pollect-high[sonar] (for Flood) "
        "cannot be installed together:",
    )
    assert any("sonar-library<2" in reason for reason in reasons)
    assert any("sonar-library>=2" in reason for reason in reasons)
    assert "pollect-any" not in done.stderr

    write_config(tmp_path, config % "{type: Ebb}, {type: Tide}")
    fine = call("deps", "--check", folder=tmp_path, environ=environ)
    assert fine.returncode == 0
    assert fine.stdout.startswith("everything fits together: pollect-any[sonar]>=1.0")
