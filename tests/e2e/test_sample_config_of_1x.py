"""A config in the shape of the sample that 1.x shows in public: old keys, tabs, all families."""

import json
from pathlib import Path

import pytest

from tests.e2e.command import call

#: As published: the set is not closed.
INVALID_PATTERN = "sd[a-z}+$"
SAMPLE = {
    "tickTime": 10,
    "writer": {"type": "Prometheus", "port": 9001},
    "executors": [
        {
            "collection": "slowData",
            "tickTime": 120,
            "sources": [
                {
                    "type": "SnmpGet",
                    "name": "switch",
                    "host": "192.0.2.1",
                    "communityString": "public",
                    "metrics": [
                        {
                            "oids": [f"iso.3.6.1.2.1.16.1.1.1.4.{port}" for port in range(1, 6)],
                            "name": "throughput",
                            "mode": "rate",
                        }
                    ],
                }
            ],
        },
        {
            "collection": "Apps",
            "tickTime": 43200,
            "sources": [
                {
                    "type": "Gdc",
                    "bucketName": "pubsite_prod_rev_1234",
                    "keyFile": "play.json",
                    "dbDir": "db",
                    "apps": [{"package": "org.example.app", "name": "An App"}],
                },
                {
                    "type": "AppStoreConnect",
                    "keyId": "ABC1234567",
                    "keyFile": "apple.p8",
                    "issuerId": "1234-5678-90",
                    "vendorNumber": "812345",
                    "dbDir": "db",
                },
            ],
        },
        {
            "collection": "pollect",
            "sources": [
                {"type": "Http", "name": "site", "url": "https://example.org"},
                {"type": "LoadAvg"},
                {"type": "DiskUsage", "disks": ["/"]},
                {"type": "MemoryUsage"},
                {"type": "Interface", "include": ["venet0"], "exclude": [], "includeTotal": False},
                {"type": "IO", "include": [], "exclude": ["sdb1"]},
                {
                    "type": "SmartCtl",
                    "tickTime": 60,
                    "attributes": ["Temperature_Celsius", "Reallocated_Sector_Ct"],
                    "devices": [INVALID_PATTERN],
                },
                {
                    "type": "Sensors",
                    "tickTime": 60,
                    "include": ["coretemp-isa-0000"],
                    "exclude": [],
                },
                {"type": "Bind", "url": "http://192.0.2.10:8053", "views": ["_default"]},
                {"type": "Plex", "url": "http://192.0.2.10:32400"},
                {"type": "MMI", "credentials": "mmiCreds.json", "vin": ""},
                {"type": "Fritz", "pass": "0000", "ip": "192.0.2.1"},
                {
                    "type": "HomematicIp",
                    "authToken": "A1B2",
                    "accessPoint": "3014F711A0001234",
                },
                {"type": "Openhab", "url": "http://192.0.2.10:8080"},
            ],
        },
    ],
}

DISTRIBUTIONS = {
    "pollect-core",
    "pollect-sources-cloud",
    "pollect-sources-home",
    "pollect-sources-network",
    "pollect-sources-system",
    "pollect-writers",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pollect.json").write_text(json.dumps(SAMPLE, indent="\t"))
    return tmp_path


def test_sample_passes_with_its_only_mistake_as_a_warning(folder: Path) -> None:
    """The pattern of drives in the public sample is invalid; 1.x does not start with it."""
    done = call("check", "pollect.json", folder=folder)
    assert done.returncode == 0
    assert done.stdout.startswith("no mistakes in pollect.json: 17 sources in 3 executors")
    (warning,) = done.stderr.splitlines()
    line = 1 + (folder / "pollect.json").read_text().partition(INVALID_PATTERN)[0].count("\n")
    assert warning.startswith(f"warning: pollect.json:{line}:")
    assert "executors[2].sources[6].devices[0]: 'sd[a-z}+$' is not a regular expression" in warning
    assert warning.endswith("(write for example `sd[a-z]$`)")


def test_programs_see_the_warning_beside_a_config_that_is_right(folder: Path) -> None:
    done = call("check", "--json", "pollect.json", folder=folder)
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["ok"]) == (0, "", True)
    (problem,) = found["problems"]
    assert (problem["key"], problem["warning"]) == ("executors[2].sources[6].devices[0]", True)


def test_warning_stands_beside_mistakes_and_does_not_count(folder: Path) -> None:
    """What only a package is missing for ends with 3; a warning makes no 2 of it."""
    text = (folder / "pollect.json").read_text().replace('"LoadAvg"', '"LoadAvgs"')
    (folder / "pollect.json").write_text(text)
    done = call("check", "pollect.json", folder=folder)
    assert done.returncode == 3
    unknown, warning = done.stderr.splitlines()
    assert "did you mean 'LoadAvg'?" in unknown
    assert "is not a regular expression" in warning


def test_invalid_pattern_costs_no_other_source_at_run_time(tmp_path: Path) -> None:
    """Only the source without a usable pattern is down, with the words of `check`."""
    command = tmp_path / "smartctl"
    command.write_text('#!/bin/sh\necho \'{"smartctl": {}, "temperature": {"current": 31}}\'\n')
    command.chmod(0o700)
    sections: list[dict[str, object]] = [
        {"type": "SmartCtl", "name": "old", "devices": [INVALID_PATTERN]},
        {"type": "SmartCtl", "name": "new", "devices": ["null$", "(x"]},
    ]
    config = {
        "writers": [{"type": "DryRun"}],
        "executors": [
            {
                "collection": "house",
                "sources": [{**section, "command": str(command)} for section in sections],
            }
        ],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = call("probe", "-c", "config.json", folder=tmp_path)
    assert done.returncode == 1
    assert "SmartCtl_new_temperature" in done.stdout
    assert "devices[0]: 'sd[a-z}+$' is not a regular expression" in done.stdout + done.stderr
    assert "devices[1]: '(x' is not a regular expression" in done.stdout + done.stderr


def test_all_six_distributions_are_named(folder: Path) -> None:
    done = call("deps", "pollect.json", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert {line.partition(">=")[0].partition("[")[0] for line in lines} == DISTRIBUTIONS
    (cloud,) = (line for line in lines if line.startswith("pollect-sources-cloud"))
    assert cloud.startswith("pollect-sources-cloud[appstoreconnect,gdc]")
