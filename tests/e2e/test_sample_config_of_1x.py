"""A config in the shape of the sample that 1.x shows in public: old keys, tabs, all families."""

import json
from pathlib import Path

import pytest

from tests.e2e.command import call

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
                    "devices": ["sd[a-z]+$"],
                },
                {"type": "Sensors", "tickTime": 60, "include": ["coretemp-isa-0000"]},
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


def test_sample_is_right_as_it_stands(folder: Path) -> None:
    done = call("check", "pollect.json", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_only_mistake_is_found(folder: Path) -> None:
    """The pattern of drives in the public sample is not valid; it stops 1.x when it starts."""
    text = (folder / "pollect.json").read_text().replace("sd[a-z]+$", "sd[a-z}+$")
    (folder / "pollect.json").write_text(text)
    done = call("check", "pollect.json", folder=folder)
    assert done.returncode == 2
    (complaint,) = done.stderr.splitlines()
    assert "devices[0]" in complaint
    assert "regular expression" in complaint


def test_all_six_distributions_are_named(folder: Path) -> None:
    done = call("deps", "pollect.json", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert {line.partition(">=")[0].partition("[")[0] for line in lines} == DISTRIBUTIONS
    (cloud,) = (line for line in lines if line.startswith("pollect-sources-cloud"))
    assert cloud.startswith("pollect-sources-cloud[appstoreconnect,gdc]")
