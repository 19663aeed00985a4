"""Inventories that are read again, and the sources of their targets."""

import gzip
import json
import logging
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pollect.config.declared import fields_of, struct_type
from pollect.config.load import load_config
from pollect.config.targets import TargetsOptions
from pollect.daemon.build import assemble
from pollect.daemon.targets import Inventory, TargetSet
from pollect.discovery.registry import Registry
from pollect.engine.plan import Plan
from pollect.engine.selfmetrics import describe_sources
from pollect.errors import InvalidConfig
from pollect.model import Outcome, SourceId, SourceStatus
from pollect.plugin import Secret
from pollect.support.options import ClientTls
from pollect.testing import FakeClock
from pollect.testing.http import HttpResponse, Misbehaviour, serve_http
from pollect.testing.waiting import wait_until
from tests.simulators.certificates import Authority

CLOCK = FakeClock()
STOPPING = threading.Event()
BASE = "{type: TcpTime, targets: {file: targets.json}}"


def groups(*addresses: str, **labels: str) -> list[dict[str, object]]:
    return [{"targets": list(addresses), "labels": labels}]


def write(file: Path, data: object) -> None:
    """Put another file in the place of this one, as is right."""
    new = file.with_name("new")
    new.write_text(data if isinstance(data, str) else json.dumps(data))
    os.replace(new, file)


def addresses(inventory: Inventory) -> list[str]:
    return [entry.target.address for listed in inventory.listed() for entry in listed.entries()]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


class House:
    """A config with one section and its inventory."""

    def __init__(self, folder: Path, registry: Registry, section: str) -> None:
        self.targets_file = folder / "targets.json"
        self._file = folder / "config.yml"
        self._registry = registry
        self.load(section)

    def load(self, section: str) -> None:
        self._file.write_text(
            f"writer: {{type: DryRun}}\nexecutors: [{{collection: net, sources: [{section}]}}]"
        )
        self.config = load_config(self._file, self._registry)
        self.targets = TargetSet(self.config, getattr(self, "targets", None))

    def plan(self, previous: Plan | None = None) -> Plan:
        for expansion in self.targets.expansions.values():
            expansion.inventory.refresh(files_only=True)
        plan = assemble(
            self.config,
            self._registry,
            clock=CLOCK,
            stopping=STOPPING,
            previous=previous,
            targets=self.targets,
        )
        self.targets.finish()
        return plan


@pytest.fixture
def house(tmp_path, registry) -> House:
    write(tmp_path / "targets.json", groups("a:1", "b:2", rack="r1"))
    return House(tmp_path, registry, BASE)


def sources(plan: Plan) -> dict[str, Any]:
    return {str(part.id): part.source for part in plan.executors[0].sources}


def test_a_section_is_repeated_for_each_target_with_its_labels(house) -> None:
    plan = house.plan()
    assert list(sources(plan)) == ["net/TcpTime@a:1", "net/TcpTime@b:2"]
    assert plan.executors[0].sources[0].static_labels == (("rack", "r1"), ("target", "a:1"))


def test_only_what_changed_gets_a_new_source(house) -> None:
    first = house.plan()
    write(house.targets_file, [*groups("c:3", "b:2", rack="r1"), *groups("a:1", rack="r2")])
    second = house.plan(first)
    before, after = sources(first), sources(second)
    assert list(after) == ["net/TcpTime@c:3", "net/TcpTime@b:2", "net/TcpTime@a:1"]
    assert after["net/TcpTime@b:2"] is before["net/TcpTime@b:2"]
    assert after["net/TcpTime@a:1"] is not before["net/TcpTime@a:1"]
    assert house.plan(second).executors[0].sources == second.executors[0].sources


def test_the_id_of_a_target_does_not_depend_on_its_place(house) -> None:
    data = [
        *groups("a:1", module="x"), *groups("a:1", module="y"), *groups("b:2"),
    ]  # fmt: skip
    write(house.targets_file, data)
    first = house.plan()
    write(house.targets_file, list(reversed(data)))
    second = house.plan(first)
    assert sources(first) == sources(second)
    assert len(sources(first)) == 3
    assert sorted(name.partition("~")[0] for name in sources(first)) == [
        "net/TcpTime@a:1", "net/TcpTime@a:1", "net/TcpTime@b:2",
    ]  # fmt: skip


def test_an_id_holds_no_value_of_a_query(tmp_path, registry) -> None:
    write(tmp_path / "targets.json", groups("http://a/?key=hunter2", "http://a/?key=other"))
    names = list(sources(House(tmp_path, registry, BASE.replace("TcpTime", "Http")).plan()))
    assert len(set(names)) == 2
    assert all(name.startswith("net/Http@http://a/?key=***~") for name in names)


def test_what_a_source_refuses_costs_itself_and_is_said_once(house, caplog) -> None:
    write(house.targets_file, groups("a:1", "no-port", "b:2", "a:1"))
    first = house.plan()
    house.plan(first)
    assert list(sources(first)) == ["net/TcpTime@a:1", "net/TcpTime@b:2"]
    texts = [record.getMessage() for record in caplog.records]
    file = house.targets_file
    assert sorted(texts) == [
        f"net/TcpTime: left out: {file}:1:22: [0].targets[1].port: expected a port",
        f"net/TcpTime: left out: {file}:1:40: [0].targets[3]: is listed twice, first as "
        "[0].targets[0] (the first one counts)",
    ]
    (batch,) = [house.targets.batch(0.0)]
    values = {sample.metric.name: sample.value for sample in batch.samples}
    assert (values[None], values["rejected"], values["last_refresh_successful"]) == (2, 2, 1)
    caplog.clear()
    caplog.set_level(logging.INFO)
    write(house.targets_file, groups("a:1"))
    house.plan(first)
    assert "every entry of its inventory can be used again" in caplog.text


def test_a_hundred_bad_entries_do_not_fill_the_log(house, caplog) -> None:
    write(house.targets_file, groups(*(f"h{number}" for number in range(100))))
    assert not sources(house.plan())
    assert len(caplog.records) == 21
    assert "100 entries are left out in all" in caplog.text


def test_what_no_target_can_mend_is_refused_at_its_place_in_the_config(house) -> None:
    house.load('{type: TcpTime, expect: "(", targets: {file: targets.json}}')
    with pytest.raises(
        InvalidConfig, match=r"config\.yml:2:.*expect: expected a regular"
    ) as caught:
        house.plan()
    assert len(caught.value.problems) == 1


def test_everything_that_no_target_can_mend_is_refused_at_once(house) -> None:
    house.load('{type: TcpTime, expect: "(", sourceAddress: x, targets: {file: targets.json}}')
    with pytest.raises(InvalidConfig) as caught:
        house.plan()
    keys = [problem.key.rpartition(".")[2] for problem in caught.value.problems]
    assert keys == ["expect", "sourceAddress"]


@pytest.mark.usefixtures("fresh_imports")
def test_a_source_that_raises_anything_costs_that_target(house) -> None:
    (house.targets_file.parent / "extensions").mkdir()
    (house.targets_file.parent / "extensions" / "Odd.py").write_text(
        "from pollect.api import Source, SourceConfig\n"
        "class Config(SourceConfig, frozen=True, kw_only=True):\n    host: str\n"
        "class Odd(Source):\n    config_type = Config\n    target_option = 'host'\n"
        "    def __init__(self, config, context):\n"
        "        super().__init__(config, context)\n"
        "        if config.host == 'b:2': raise SystemExit(3)\n"
    )
    registry = Registry(extension_paths=[house.targets_file.parent])
    section = BASE.replace("TcpTime", "extensions.Odd")
    odd = House(house.targets_file.parent, registry, section)
    assert list(sources(odd.plan())) == ["net/extensions.Odd@a:1"]
    (problem,) = odd.targets.problems()
    assert "extensions.Odd fails to start" in str(problem)


@pytest.mark.parametrize("broken", ["", "[", '{"a": 1}', '[{"targets": ["x"'])
def test_a_broken_inventory_leaves_the_targets_as_they_were(house, caplog, broken) -> None:
    caplog.set_level(logging.INFO)
    first = house.plan()
    write(house.targets_file, broken)
    assert sources(house.plan(first)) == sources(first)
    assert sources(house.plan(first)) == sources(first)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (inventory,) = (expansion.inventory for expansion in house.targets.expansions.values())
    assert not inventory.successful
    write(house.targets_file, groups("c:3"))
    assert list(sources(house.plan(first))) == ["net/TcpTime@c:3"]
    assert "works again" in caplog.text
    assert inventory.successful


def test_an_inventory_that_is_away_leaves_the_targets_as_they_were(house, caplog) -> None:
    first = house.plan()
    house.targets_file.unlink()
    assert sources(house.plan(first)) == sources(first)
    assert "No such file" in caplog.text
    os.mkfifo(house.targets_file)
    assert sources(house.plan(first)) == sources(first)
    assert "expected a file, got a pipe" in caplog.text


def test_a_reload_keeps_what_was_read_although_the_file_is_broken_now(house) -> None:
    first = house.plan()
    write(house.targets_file, "[")
    house.load("{type: TcpTime, timeout: 3, targets: {file: targets.json}}")
    assert list(sources(house.plan(first))) == list(sources(first))


def test_an_empty_list_ends_all_sources(house) -> None:
    write(house.targets_file, "[]")
    assert not sources(house.plan())


def options(folder: Path, state_dir: Path | None = None, **given: object) -> Inventory:
    return Inventory(TargetsOptions(**given), folder, state_dir=state_dir)  # type: ignore[arg-type]


def test_files_of_a_pattern_come_and_go(tmp_path, caplog) -> None:
    inventory = options(tmp_path, file=("sd/t*.json", "one.yml"))
    (tmp_path / "sd").mkdir()
    for name in ("t2.json", "t1.json", "other.json"):
        write(tmp_path / "sd" / name, groups(name))
    write(tmp_path / "one.yml", "- targets: [yaml]\n")
    assert inventory.refresh(files_only=True)
    assert addresses(inventory) == ["t1.json", "t2.json", "yaml"]
    assert not inventory.refresh(files_only=True)
    (tmp_path / "sd" / "t1.json").unlink()
    write(tmp_path / "sd" / "t3.json", "[")
    assert inventory.refresh(files_only=True)
    assert addresses(inventory) == ["t2.json", "yaml"]
    assert "t3.json" in caplog.text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"file": ("targets.txt",)}, "targets.file: expected a file .json, .yml, .yaml"),
        ({"file": ("a.json", "*/b.json")}, "'*' in the last part of the name only"),
        ({"http": "ftp://a/"}, "targets.http: expected a URL like http://"),
        ({"http": "http://user:hunter2@a/"}, "targets.http: do not put credentials"),
        ({"http": "http://a/", "refresh_interval": "often"}, "expected a duration"),
        ({"http": "http://a/", "refresh_interval": "0"}, "expected 1s or more"),
        ({"http": "http://a/", "user": "u", "token": Secret("t")}, "either a user or a token"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, registry, given, problem) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        options(tmp_path, **given)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_options_that_make_no_sense_are_named_with_their_place(tmp_path, registry) -> None:
    with pytest.raises(InvalidConfig, match=r"config\.yml:2:\d+: .*sources\[0\]\.targets\.file: "):
        House(tmp_path, registry, "{type: Ping, targets: {file: a.txt}}")


def due(inventory: Inventory) -> None:
    """Let its URL be due, however long the pause."""
    for feed in inventory._feeds:
        feed._due = float("-inf")  # type: ignore[attr-defined]


def test_a_url_is_asked_with_credentials_and_its_etag(tmp_path) -> None:
    answer = HttpResponse(groups("a:1"), headers={"ETag": '"1"'})

    def routes(request):
        same = request.headers.get("If-None-Match") == '"1"'
        return HttpResponse("", status=304) if same else answer

    with serve_http(routes) as server:
        inventory = options(tmp_path, http=f"{server.url}/sd", token=Secret("hunter2"))
        assert inventory.refresh()
        due(inventory)
        assert not inventory.refresh()
        assert addresses(inventory) == ["a:1"]
        first, second = server.requests
    assert first.headers["Authorization"] == "Bearer hunter2"
    assert first.headers["Accept"] == "application/json"
    assert first.headers["X-Prometheus-Refresh-Interval-Seconds"] == "60"
    assert second.headers["If-None-Match"] == '"1"'
    assert inventory.successful


def _has_more_than(folder: Path, files: int) -> bool:
    return len([*folder.glob("*.json")]) > files


def test_a_daemon_starts_with_what_a_url_said_last(tmp_path, caplog) -> None:
    caplog.set_level("INFO", "pollect.targets")
    routes = {"/a": groups("a:1"), "/b": groups("b:1")}
    with serve_http(routes) as server:
        for path in routes:
            first = options(tmp_path, tmp_path / "state", http=server.url + path)
            assert addresses(first) == []
            before = [*tmp_path.glob("state/*.json")]
            first.start(lambda: None)
            wait_until(partial(_has_more_than, tmp_path / "state", len(before)))
            first.stop()
    again = options(tmp_path, tmp_path / "state", http=f"{server.url}/a")
    assert addresses(again) == ["a:1"]
    assert "starting with the targets of its last answer: 1" in caplog.text
    assert not again.refresh(), "the server is away"
    assert addresses(again) == ["a:1"]
    assert not again.successful
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "state").iterdir()} == {0o600}
    assert addresses(options(tmp_path, http=f"{server.url}/a")) == []


def test_an_answer_in_use_is_touched_though_it_stays_the_same(tmp_path) -> None:
    with serve_http({"/sd": groups("a:1")}) as server:
        first = options(tmp_path, tmp_path, http=f"{server.url}/sd")
        first.start(lambda: None)
        wait_until(lambda: list(tmp_path.glob("targets-*.json")), limit_seconds=60)
        first.stop()
        (kept,) = first.answers()
        os.utime(kept, (0, 0))
        again = options(tmp_path, tmp_path, http=f"{server.url}/sd")
        again.start(lambda: None)
        wait_until(lambda: kept.stat().st_mtime > 0, limit_seconds=60)
        again.stop()


@pytest.mark.parametrize("content", ["[", "{}", "", "\0", "[{}"])
def test_a_kept_answer_that_is_broken_is_named_and_asked_for_again(
    tmp_path, caplog, content: str
) -> None:
    with serve_http({"/sd": groups("a:1")}) as server:
        first = options(tmp_path, tmp_path, http=f"{server.url}/sd")
        first.start(lambda: None)
        wait_until(lambda: list(tmp_path.glob("targets-*.json")))
        first.stop()
        (kept,) = tmp_path.glob("targets-*.json")
        kept.write_text(content)
        again = options(tmp_path, tmp_path, http=f"{server.url}/sd")
        assert addresses(again) == []
        assert f"its last answer cannot be used: {kept}" in caplog.text
        assert again.refresh()
        assert addresses(again) == ["a:1"]


def test_an_answer_that_cannot_be_kept_is_used_all_the_same(tmp_path, caplog) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    with serve_http({"/sd": groups("a:1")}) as server:
        inventory = options(tmp_path, tmp_path / "state", http=f"{server.url}/sd")
        changed = threading.Event()
        inventory.start(changed.set)
        assert changed.wait(30)
        unkept = "will be unknown after a restart until it answers"
        wait_until(lambda: unkept in caplog.text)
        inventory.stop()
    assert addresses(inventory) == ["a:1"]


def test_a_url_may_have_a_certificate_of_a_private_authority(tmp_path) -> None:
    authority = Authority(tmp_path)
    with serve_http({"/sd": groups("a:1")}, tls=authority.server("localhost")) as server:
        url = f"https://localhost:{server.port}/sd"
        assert not options(tmp_path, http=url).refresh()
        tls = ClientTls(ca=authority.ca_file.name)
        assert options(tmp_path, http=url, tls=tls).refresh()


@pytest.mark.parametrize(
    "answer",
    [
        HttpResponse("gone", status=404),
        HttpResponse("", status=500),
        HttpResponse("", status=503, headers={"Retry-After": "120"}),
        HttpResponse("", status=401),
        HttpResponse("<html>", status=200),
        HttpResponse("", status=200),
        Misbehaviour.SILENT,
        Misbehaviour.HANG_UP,
        Misbehaviour.RUBBISH,
        Misbehaviour.TRICKLE,
        Misbehaviour.CUT_SHORT,
        pytest.param(
            HttpResponse(
                gzip.compress(b"[" + b" " * 33_000_000 + b"]"), headers={"Content-Encoding": "gzip"}
            ),
            id="bomb",
        ),
    ],
    ids=str,
)
def test_a_url_that_fails_leaves_the_targets_as_they_were(tmp_path, caplog, answer) -> None:
    with serve_http({"/sd": groups("a:1")}) as server:
        inventory = options(tmp_path, http=f"{server.url}/sd?key=hunter2", timeout=0.5)
        assert inventory.refresh()
        server.routes = {"/sd": answer}
        for _ in range(2):
            due(inventory)
            assert not inventory.refresh()
        assert addresses(inventory) == ["a:1"]
        assert not inventory.successful
        assert len(caplog.records) == 1
        assert "hunter2" not in caplog.text
        server.routes = {"/sd": groups("b:1")}
        due(inventory)
        assert inventory.refresh()
        assert inventory.successful


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("120", 100, 121),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 61),
        ("soon", 0, 61),
        ("9" * 30, 3000, 3601),
    ],
)
def test_retry_after_is_heeded_within_reason(tmp_path, value, least, most) -> None:
    answer = HttpResponse("", status=503, headers={"Retry-After": value})
    with serve_http({"/sd": answer}) as server:
        inventory = options(tmp_path, http=f"{server.url}/sd", refresh_interval="1m")
        inventory.refresh()
    (feed,) = inventory._feeds
    assert least <= feed.next_due() - time.monotonic() <= most


def test_a_thread_looks_for_changes_until_it_is_stopped(tmp_path) -> None:
    write(tmp_path / "targets.json", groups("a:1"))
    inventory = options(tmp_path, file=("targets.json",))
    inventory.refresh(files_only=True)
    changed = threading.Event()
    inventory.start(changed.set)
    write(tmp_path / "targets.json", groups("b:1"))
    assert changed.wait(30)
    assert addresses(inventory) == ["b:1"]
    inventory.stop()
    (thread,) = (one for one in threading.enumerate() if one.name == "pollect-targets")
    wait_until(lambda: not thread.is_alive(), "the end of the thread", limit_seconds=60)


def test_the_log_of_a_target_is_not_kept_after_it(house) -> None:
    house.plan()  # what is imported for it may have loggers of its own
    before = len(logging.Logger.manager.loggerDict)
    for number in range(50):
        write(house.targets_file, groups(f"h{number}:1"))
        (source,) = sources(house.plan()).values()
        assert source.log.name == f"net/TcpTime@h{number}:1"
    assert len(logging.Logger.manager.loggerDict) <= before + 1


def test_the_log_of_a_target_has_the_level_of_its_section(house, caplog) -> None:
    with caplog.at_level(logging.DEBUG, "net/TcpTime"):
        source = sources(house.plan())["net/TcpTime@a:1"]
        source.log.debug("heard")
    source.log.debug("not heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]


def test_the_own_metrics_of_a_target_leave_out_what_is_zero() -> None:
    source = SourceId("net", "Ping", target="a")
    probes = {Outcome.OK: 2, Outcome.FAILED: 0}
    up = SourceStatus(
        source, Outcome.OK, last_success=5.0, duration_seconds=0.1, series=3, probes=probes
    )
    down = SourceStatus(source._replace(target="b"), Outcome.FAILED, duration_seconds=0.1)
    found = [
        (sample.metric.name, dict(zip(sample.metric.labels, sample.label_values, strict=True)))
        for sample in describe_sources([up, down], 0.0).samples
    ]
    assert all(labels["target"] in ("a", "b") for _, labels in found)
    assert [name for name, labels in found if labels["target"] == "a"] == [
        "up", "probe_duration_seconds", "series", "last_success_timestamp_seconds", "probes_total",
    ]  # fmt: skip
    assert [name for name, labels in found if labels["target"] == "b"] == [
        "up", "probe_duration_seconds",
    ]  # fmt: skip


def test_a_file_without_end_is_not_read_to_its_end(tmp_path, caplog) -> None:
    with (tmp_path / "targets.json").open("wb") as file:
        file.truncate(1_000_000_000)
    inventory = options(tmp_path, file=("targets.json",))
    assert not inventory.refresh(files_only=True)
    assert "larger than 32 MB" in caplog.text


def test_the_option_that_a_target_fills_exists(registry) -> None:
    named = 0
    for word in registry.sources:
        plugin = registry.source_type(word)
        fields = {field.encode_name: field for field in fields_of(struct_type(plugin.config_type))}
        if plugin.target_option:
            named += 1
            assert plugin.target_option in fields, word
        assert plugin.target_option or not plugin.target_prefix, word
    assert named >= 17
