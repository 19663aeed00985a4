"""What a constructor refuses: all of it, although it stops at the first mistake."""

import json
import threading
from pathlib import Path

import pytest

from pollect.config.load import load_config
from pollect.daemon.build import assemble
from pollect.discovery.registry import Registry
from pollect.errors import InvalidConfig
from pollect.testing import FakeClock
from tests.e2e.command import call

CONFIG = """\
writers:
- {{{writer}}}
executors:
- collection: c
  sources:
  - {{{source}}}
"""


def refusals(folder: Path, source: str = "type: Dummy", writer: str = "type: DryRun") -> list[str]:
    """Return the place of each mistake in the two sections, and what is wrong there."""
    file = folder / "config.yml"
    file.write_text(CONFIG.format(source=source, writer=writer))
    registry = Registry()
    with pytest.raises(InvalidConfig) as caught:
        assemble(
            load_config(file, registry), registry, clock=FakeClock(), stopping=threading.Event()
        )
    prefixes = ("executors[0].sources[0].", "writers[0].")
    found = []
    for problem in caught.value.problems:
        assert problem.file == file
        assert problem.line
        key = problem.key
        for prefix in prefixes:
            key = key.removeprefix(prefix)
        found.append(key)
    return found


@pytest.mark.parametrize(
    ("source", "places"),
    [
        (
            "type: TcpTime, hosts: [a, 'b:1', 'c:x'], expect: (, sourceAddress: x, readTimeout: 30",
            ["hosts[0]", "hosts[2]", "expect", "readTimeout", "sourceAddress"],
        ),
        # What is missed only because of another option, and what is wrong beside it.
        (
            "type: TcpTime, host: a, port: 1, protocol: udp, sourceAddress: x",
            ["send", "sourceAddress"],
        ),
        ("type: VwGroup, user: a, vin: b, brand: z", ["password", "vin", "brand"]),
        # Required options, for which something of their kind stands in.
        ("type: Http, url: foo, match: (, notMatch: '['", ["url", "match", "notMatch"]),
        ("type: Dns, query: '', server: '', match: (", ["server", "query", "match"]),
        # Several mistakes in one item of a list, and items behind it.
        (
            "type: SnmpGet, host: 'a:99999', metrics: [{oid: 1.2.x, name: a, extract: (}, "
            "{name: b}, {name: d, oid: 1.3.6.1}, {name: c, oid: 1.3.6.1, oids: [1.3.7]}]",
            ["metrics[0].oid", "metrics[0].extract", "metrics[1].oid", "metrics[3].oid", "host"],
        ),
        (
            "type: Gdc, bucketName: 'a b', keyFile: k, endpoint: x, "
            "apps: [{package: 'a b', name: x}, {package: a.b, name: x}, {package: c d, name: x}]",
            ["endpoint", "apps[0].package", "apps[2].package", "bucketName"],
        ),
        (
            "type: GitHub, repositories: [a, b/c, d], endpoint: 'http://x'",
            ["repositories[0]", "repositories[2]", "endpoint"],
        ),
        ("type: Fritz, ip: a, host: b, pass: a, password: b", ["ip", "password"]),
    ],
)
def test_source_reports_all_its_mistakes_at_once(
    tmp_path: Path, source: str, places: list[str]
) -> None:
    assert sorted(refusals(tmp_path, source)) == sorted(places)


@pytest.mark.parametrize(
    ("writer", "places"),
    [
        (
            "type: Mqtt, includePattern: [(, b, '['], excludePattern: (",
            ["includePattern[0]", "includePattern[2]", "excludePattern[0]"],
        ),
        (
            "type: Notify, to: ['json://h'], rules: [{state: down, above: 3}, "
            "{metric: a}, {metric: a, above: 1}, {metric: b, above: 1, below: 3}]",
            ["rules[0].state", "rules[1]", "rules[3].below"],
        ),
    ],
)
def test_writer_reports_all_its_mistakes_at_once(
    tmp_path: Path, writer: str, places: list[str]
) -> None:
    assert sorted(refusals(tmp_path, writer=writer)) == sorted(places)


@pytest.mark.parametrize(
    ("source", "places"),
    [
        # Beside an option of a wrong type, and an item of a list.
        (
            "type: TcpTime, hosts: [a, 'b:1'], timeout: -1, expect: (, parallel: x",
            ["timeout", "parallel", "hosts[0]", "expect"],
        ),
        ("type: Http, url: foo, match: (, timeout: soon", ["timeout", "url", "match"]),
        # What follows from the time-out that is put back is not a mistake of its own.
        ("type: TcpTime, hosts: ['b:1'], timeout: soon, readTimeout: 30", ["timeout"]),
        ("type: SnmpGet, host: a, snmpVersion: 5, engineId: zz", ["snmpVersion"]),
        # Without an option that is required nothing more can be said.
        ("type: Http, match: (, timeout: soon", ["url", "timeout"]),
    ],
)
def test_check_reports_them_beside_options_of_a_wrong_type(
    tmp_path: Path, source: str, places: list[str]
) -> None:
    (tmp_path / "config.yml").write_text(CONFIG.format(source=source, writer="type: DryRun"))
    done = call("check", "--json", "config.yml", folder=tmp_path)
    found = [problem["key"] for problem in json.loads(done.stdout)["problems"]]
    assert sorted(found) == sorted(f"executors[0].sources[0].{place}" for place in places)


def test_check_reports_all_mistakes_of_a_writer_of_which_one_is_a_type(tmp_path: Path) -> None:
    writer = "type: Mqtt, port: x, includePattern: [(, b, '[']"
    (tmp_path / "config.yml").write_text(CONFIG.format(source="type: Dummy", writer=writer))
    done = call("check", "--json", "config.yml", folder=tmp_path)
    found = [problem["key"] for problem in json.loads(done.stdout)["problems"]]
    assert found == ["writers[0].port", *(f"writers[0].includePattern[{n}]" for n in (0, 2))]


@pytest.mark.usefixtures("fresh_imports")
def test_constructor_that_refuses_everything_ends(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Odd.py").write_text(
        "import itertools\n"
        "from pollect.api import ConfigError, Source\n"
        "numbers = itertools.count()\n"
        "class OddSource(Source):\n"
        "    def __init__(self, config, context):\n"
        "        super().__init__(config, context)\n"
        "        raise ConfigError(f'no {next(numbers)}', key='name')\n"
    )
    file = tmp_path / "config.yml"
    file.write_text(
        "writers: [{type: DryRun}]\n"
        "executors: [{collection: c, sources: [{type: mine.Odd, name: a}]}]\n"
    )
    registry = Registry(extension_paths=[tmp_path])
    with pytest.raises(InvalidConfig) as caught:
        assemble(
            load_config(file, registry), registry, clock=FakeClock(), stopping=threading.Event()
        )
    assert [error.problem for error in caught.value.problems] == ["no 0"]
