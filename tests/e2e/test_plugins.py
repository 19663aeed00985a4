"""`pollect plugins` and `pollect schema`: what is installed and how to use it."""

import json
import re
from pathlib import Path

import pytest

from tests.e2e.command import call
from tests.tools.distributions import write_distribution

TIDE = '''
"""Source `Tide`: the tide at one harbour.

Protocol: a yellow float (maker's sheet, section 2).
"""

from typing import Annotated

from msgspec import Meta

from pollect.api import (
    Kind, Metric, Needs, Program, Secret, Source, SourceConfig, SourceSpec, hookimpl
)


class TideConfig(SourceConfig, frozen=True, kw_only=True):
    harbour: Annotated[str, Meta(description="Name of the harbour.")]
    port: Annotated[Annotated[int, Meta(ge=1, le=65535)], Meta(description="Its port.")] = 80
    password: Annotated[Secret | None, Meta(description="Word of the day.")] = None


class TideSource(Source[TideConfig]):
    """Height of the water; one look per probe."""

    config_type = TideConfig
    metrics = (
        Metric("tips", help="Tips of the float.", kind=Kind.COUNTER, labels=("side",)),
        Metric("height_metres", help="Height of the water.", unit="metres"),
    )


@hookimpl
def pollect_sources():
    programs = (Program("pollect-no-such-sonar", "sonar-tools"),)
    return [SourceSpec("Tide", "tide:TideSource", summary="Height of the tide", extra="sonar",
                       aliases=("Ebb",), needs=Needs(programs=programs, groups=("sailors",)))]
'''
EXTRAS = {"sonar": ["no-such-library>=2"]}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    write_distribution(
        tmp_path, "pollect-tide", modules={"tide.py": TIDE}, plugin="tide", extras=EXTRAS
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_list_says_of_every_type_whether_it_can_be_used(environ: dict[str, str]) -> None:
    done = call("plugins", "list", environ=environ)
    assert done.returncode == 0
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[0] == ["TYPE", "KIND", "DISTRIBUTION", "STATE", "SUMMARY"]
    dummy = ["Dummy", "source", "pollect-core 2.0.0", "ready", "Values from the config itself"]
    assert dummy in rows
    tide = ["Tide", "source", "pollect-tide 1.0", "extra missing", "Height of the tide"]
    assert tide in rows
    cure = "  Tide: needs no-such-library>=2: pip install 'pollect-tide[sonar]'"
    assert cure in done.stdout.splitlines()


def test_list_finds_types_by_what_they_are_for(environ: dict[str, str]) -> None:
    done = call("plugins", "list", "docker")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["TYPE", "Container"]
    done = call("plugins", "list", "TIDE", environ=environ)
    assert done.stdout.splitlines()[1].startswith("Tide ")
    done = call("plugins", "list", "zeppelin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no type has 'zeppelin' in its name or summary\n"


def test_show_of_what_a_type_is_for_leads_to_the_type() -> None:
    done = call("plugins", "show", "Docker")
    assert done.returncode == 0
    assert done.stdout.startswith("Container: source of pollect-sources-system")
    assert done.stderr.startswith("no type 'Docker'; this is Container: ")


def test_list_names_broken_plugins_and_their_cure(tmp_path: Path) -> None:
    claim = TIDE.replace('SourceSpec("Tide"', 'SourceSpec("Dummy"')
    write_distribution(tmp_path, "pollect-claim", modules={"tide.py": claim}, plugin="tide")
    broken = {"broken.py": "raise RuntimeError('no luck')\n"}
    write_distribution(tmp_path, "pollect-broken", modules=broken, plugin="broken")
    done = call("plugins", "list", environ={"PYTHONPATH": str(tmp_path)})
    assert "  Dummy: also registered by pollect-core 2.0.0" in done.stdout
    assert "  broken: fails at import: RuntimeError: no luck (pip install" in done.stdout
    assert "pip uninstall pollect-claim" in done.stdout


def test_list_for_programs_is_json(environ: dict[str, str]) -> None:
    listed = json.loads(call("plugins", "list", "--json", environ=environ).stdout)
    (tide,) = (row for row in listed["types"] if row["type"] == "Tide")
    assert tide == {
        "type": "Tide",
        "aliases": ["Ebb"],
        "kind": "source",
        "summary": "Height of the tide",
        "distribution": "pollect-tide",
        "version": "1.0",
        "extra": "sonar",
        "state": "extra missing",
        "reason": "needs no-such-library>=2: pip install 'pollect-tide[sonar]'",
    }
    assert listed["problems"] == []


def test_show_prints_the_whole_manual_without_the_extra(environ: dict[str, str]) -> None:
    done = call("plugins", "show", "Tide", environ=environ)
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    for part in (
        "Tide: source of pollect-tide 1.0",
        "Height of the water; one look per probe.",
        "Protocol: a yellow float",
        "State: extra missing",
        "Packages: pip install 'pollect-tide[sonar]'",
        "Program: pollect-no-such-sonar (apt install sonar-tools), not found",
        "Needs: the group sailors",
        "Other names: Ebb",
        "harbour text required Name of the harbour.",
        "port whole number from 1 to 65535 80 Its port.",
        "password secret text Word of the day.",
        "tips counter side Tips of the float.",
        "height_metres gauge metres Height of the water.",
        "- type: Tide harbour: ...",
    ):
        assert part in words
    assert call("plugins", "show", "Ebb", environ=environ).stdout == done.stdout


def test_show_of_an_unknown_type_suggests_another() -> None:
    done = call("plugins", "show", "dryrun")
    assert done.returncode == 3
    assert done.stderr == "pollect: unknown writer type 'dryrun' (did you mean 'DryRun'?)\n"


def test_schema_covers_plugins_and_their_other_names(environ: dict[str, str]) -> None:
    done = call("schema", environ=environ)
    assert done.returncode == 0
    definitions = json.loads(done.stdout)["definitions"]
    assert {"source.Tide", "source.Ebb", "source.Dummy", "writer.DryRun"} <= definitions.keys()
    harbour = definitions["source.Tide"]["properties"]["harbour"]
    assert harbour["description"] == "Name of the harbour."
