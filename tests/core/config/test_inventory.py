"""Inventories in the formats of Prometheus, and the places for a target in a section."""

import json
from pathlib import Path
from typing import Any

import pytest

from pollect.config.addresses import Address, split_target
from pollect.config.config import Config
from pollect.config.inventory import MOST_LABELS, Target, read_listing
from pollect.config.load import load_config, read_sound
from pollect.errors import ConfigError, InvalidConfig
from pollect.testing.build import installed_types

JSON = Path("targets.json")
YAML = Path("targets.yml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("router", Address("router", "")),
        ("10.0.0.1:161", Address("10.0.0.1", "161")),
        ("[::1]:9100", Address("::1", "9100")),
        ("[fe80::1%eth0]", Address("fe80::1%eth0", "")),
        ("2001:db8::1", Address("2001:db8::1", "")),
        ("https://example.org:8443/path?x=1", Address("example.org", "8443")),
        ("example.org/health", Address("example.org", "")),
        ("udp:router:161", Address("router", "161")),
        ("udp6:[::1]:161", Address("::1", "161")),
        ("udp:161", Address("udp", "161")),
        ("smtp://mail.example.org", Address("mail.example.org", "")),
        ("straße.example", Address("straße.example", "")),
    ],
)
def test_host_and_port_of_a_target(text: str, address: Address) -> None:
    assert split_target(text) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty text"),
        ("a b", "a space"),
        ("a\nb", "a space"),
        ("http://a\\@b/", "a backslash"),
        ("http://user:hunter2@a/", "put credentials into the section"),
        ("hunter2@a", "put credentials into the section"),
        ("file:///etc/passwd", "not a file"),
        ("FILE://x/etc/passwd", "not a file"),
        ("/etc/passwd", "expected a host or a URL"),
        ("../secrets", "expected a host or a URL"),
        ("a/../../secrets", "'..'"),
        ("-oProxyCommand=x", "expected a host or a URL"),
        ("http://", "expected a host or a URL"),
        ("a:0", "a port from 1 to 65535"),
        ("a:99999", "a port from 1 to 65535"),
        ("a:b", "expected a host or a URL"),
        ("x" * 5000, "at most 2,048"),
    ],
)
def test_what_is_no_target_is_refused_without_its_secret(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        split_target(text)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_both_formats_list_the_same_targets() -> None:
    data = [
        {"targets": ["a:1", "b:2"], "labels": {"rack": "r1", "__meta_dc": "x", "floor": 3}},
        {"targets": ["c"], "labels": None},
        {"targets": []},
    ]
    yaml = (
        "- targets: [a:1, b:2]\n  labels: {rack: r1, __meta_dc: x, floor: 3}\n"
        "- targets: [c]\n  labels:\n- targets: []\n"
    )
    labels = (("__meta_dc", "x"), ("floor", "3"), ("rack", "r1"))
    expected = [
        (Target("a:1", labels), "[0].targets[0]"),
        (Target("b:2", labels), "[0].targets[1]"),
        (Target("c"), "[1].targets[0]"),
    ]
    assert list(read_listing(json.dumps(data), JSON).targets) == expected
    assert list(read_listing(json.dumps(data), None).targets) == expected
    assert list(read_listing(yaml, YAML).targets) == expected


BAD = """\
- targets: [a, 5, b, [c]]
- targets: d
- 7
- targets: [e]
  labels: {bad-name: x}
- targets: [f]
  labels: [x]
- targets: [g]
  labels: {list: [x]}
- labels: {x: y}
- targets: [h]
"""


def test_a_bad_entry_costs_itself_and_is_named_with_its_place() -> None:
    listing = read_listing(BAD, YAML)
    assert [target.address for target, _ in listing.targets] == ["a", "b", "h"]
    assert [str(error) for error in listing.bad] == [
        "targets.yml:1:16: [0].targets[1]: expected text, got 5",
        "targets.yml:1:22: [0].targets[3]: expected text, got a list",
        "targets.yml:2:3: [1].targets: expected a list of texts, got text",
        "targets.yml:3:3: [2]: expected a mapping, got 7",
        "targets.yml:5:3: [3].labels: expected the name of a label, got 'bad-name'",
        "targets.yml:7:3: [4].labels: expected a mapping, got a list",
        "targets.yml:9:12: [5].labels.list: expected text, got a list",
        "targets.yml:10:3: [6].targets: expected a list of texts, got nothing",
    ]
    assert listing.bad_count == 8


def test_a_bad_entry_in_json_is_named_with_its_place() -> None:
    listing = read_listing('[{"targets": ["a"]},\n {"targets": [null]}]', JSON)
    assert [str(error) for error in listing.bad] == [
        "targets.json:2:15: [1].targets[0]: expected text, got nothing"
    ]


def test_too_many_labels_cost_their_entry() -> None:
    labels = {f"l{number}": "x" for number in range(MOST_LABELS + 1)}
    data = [{"targets": ["a"], "labels": labels}, {"targets": ["b"], "labels": {"x": "y" * 2000}}]
    listing = read_listing(json.dumps([*data, {"targets": ["c"]}]), JSON)
    assert [target.address for target, _ in listing.targets] == ["c"]
    assert "64 labels or fewer, got 65" in str(listing.bad[0])
    assert "at most 1024 characters" in str(listing.bad[1])


def test_of_a_million_mistakes_a_few_are_kept() -> None:
    listing = read_listing(json.dumps([1] * 50_000), JSON)
    assert (len(listing.bad), listing.bad_count) == (20, 50_000)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("", JSON),
        ("", YAML),
        ("# nothing yet\n", YAML),
        ('[{"targets": ["a"', JSON),
        ("- targets: [a", YAML),
        ("{}", JSON),
        ("text", YAML),
        ("[" * 5000, JSON),
        ("[" + "9" * 10_000 + "]", JSON),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", YAML),
        ("<html></html>", None),
    ],
)
def test_what_is_cut_off_or_something_else_is_refused_as_a_whole(text, file) -> None:
    with pytest.raises(ConfigError):
        read_listing(text, file)


def test_an_empty_list_is_a_list() -> None:
    assert read_listing("[]", JSON).targets == ()


def write(folder: Path, section: str, targets: object = None) -> Path:
    (folder / "targets.json").write_text(json.dumps(targets or [{"targets": ["a:1"]}]))
    file = folder / "config.yml"
    head = "writer: {type: DryRun}\nexecutors:\n  - collection: net\n    sources:\n"
    file.write_text(f"{head}      - {section}")
    return file


def load(folder: Path, section: str, **environ: str) -> Config:
    return load_config(write(folder, section), installed_types(), environ=environ)


def option(folder: Path, section: str, target: Target, name: str, **environ: str) -> object:
    (targeted,) = load(folder, section, **environ).executors[0].targeted
    return getattr(targeted.blueprint.make(target), name)


INVENTORY = "targets: {file: targets.json}"
TARGET = Target("web.example:8443", (("__meta_path", "/x"), ("site", "home")))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("{type: Http, %s}", "url", "http://web.example:8443"),
        ('{type: Http, url: "https://${target}/", %s}', "url", "https://web.example:8443/"),
        (
            '{type: Http, url: "https://${target.host}:${target.port}${label.__meta_path}", %s}',
            "url",
            "https://web.example:8443/x",
        ),
        ('{type: Http, url: "http://a/$${target}${target}", %s}', "url",
         "http://a/${target}web.example:8443"),
        ('{type: Http, url: "http://${target}/${NAME:-n}$$", %s}', "url",
         "http://web.example:8443/n$"),
        ('{type: Http, url: "http://${target}/${SECRET}", %s}', "url",
         "http://web.example:8443/${target}"),
        ('{type: Http, name: "${label.site}", %s}', "name", "home"),
        ('{type: TcpTime, host: "${target.host}", port: "${target.port}", %s}', "port", 8443),
        ("{type: TcpTime, %s}", "host", "web.example:8443"),
        ('{type: Ping, host: ["${target.host}", x], %s}', "host", ("web.example", "x")),
        ('{type: Dns, query: "${label.zone:-example.org}", %s}', "query", "example.org"),
        ('{type: Http, labels: {place: "${label.site}", site: lab}, %s}', "labels",
         {"place": "home", "site": "home", "target": "web.example:8443"}),
        ('{type: Http, targets: {file: targets.json, label: instance}}', "labels",
         {"site": "home", "instance": "web.example:8443"}),
        ('{type: Http, targets: {file: targets.json, label: ""}}', "labels", {"site": "home"}),
    ],
)  # fmt: skip
def test_a_target_fills_its_section(tmp_path, section, name, value) -> None:
    section = section.replace("%s", INVENTORY)
    found = option(tmp_path, section, TARGET, name, SECRET="${target}")
    assert found == value


def test_what_a_target_or_label_holds_is_not_looked_at_again(tmp_path) -> None:
    section = '{type: Http, url: "http://${target.host}/${label.path}", %s}'.replace(
        "%s", INVENTORY
    )
    target = Target("a", (("path", "${SECRET}${target}"),))
    url = option(tmp_path, section, target, "url", SECRET="hunter2")
    assert url == "http://a/${SECRET}${target}"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (Target("a"), "url: no label 'path' (write ${label.path:-text} where it may be missing)"),
        (Target("a:b", (("path", ""),)), "url: no label 'path'"),
    ],
)
def test_a_target_without_what_the_section_wants_costs_itself(tmp_path, target, problem) -> None:
    section = '{type: Http, url: "http://a/${label.path}", %s}'.replace("%s", INVENTORY)
    (targeted,) = load(tmp_path, section).executors[0].targeted
    with pytest.raises(InvalidConfig, match=r".") as caught:
        targeted.blueprint.make(target)
    assert problem in str(caught.value)


def test_a_label_of_the_source_itself_is_never_hidden(tmp_path) -> None:
    section = "{type: Ping, %s}".replace("%s", INVENTORY)
    (targeted,) = load(tmp_path, section).executors[0].targeted
    made = targeted.blueprint.make(Target("a", (("host", "x"), ("target", "y"), ("site", "z"))))
    assert made.labels == {"target_host": "x", "target_target": "y", "site": "z", "target": "a"}
    assert targeted.blueprint.renamed == {"host", "target"}


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{type: Uptime, %s}", "Uptime has no option that a target fills"),
        ("{type: Ping, targets: {}}", "name a file or an http URL"),
        ("{type: Ping, targets: targets.json}", "targets: expected a mapping, got text"),
        ("{type: Ping, targets: {file: x.json, label: a-b}}", "targets.label: expected text like"),
        ("{type: Ping, counts: 3, %s}", "counts: unknown option"),
        ("{type: Ping, count: many, %s}", "count: expected a whole number from 1 to 1000"),
        ('{type: Http, body: "${UNSET}", %s}', "variable UNSET is not set"),
        ('{type: Http, url: "http://${target}/${UNSET}", %s}', "variable UNSET is not set"),
    ],
)
def test_a_mistake_that_no_target_can_mend_is_one_of_the_config(tmp_path, section, problem) -> None:
    section = section.replace("%s", INVENTORY)
    file = write(tmp_path, section)
    _, problems = read_sound(file, installed_types(), environ={})
    found = [str(error) for error in problems.all()]
    assert any(problem in text for text in found), found
    assert all(text.startswith(f"{file}:5:") for text in found)


@pytest.mark.usefixtures("fresh_imports")
def test_an_extension_keeps_its_own_option_of_that_name(tmp_path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "Old.py").write_text(
        "from pollect.sources.Source import Source\nclass OldSource(Source):\n"
        "    def __init__(self, data):\n        super().__init__(data)\n"
        "    def _probe(self):\n        return 1\n"
    )
    from pollect.discovery.registry import Registry

    file = write(tmp_path, '{type: extensions.Old, targets: [a, "${b}"]}')
    registry = Registry(extension_paths=[tmp_path])
    config = load_config(file, registry, environ={"b": "c"})
    (source,) = config.executors[0].sources
    options: Any = source.config
    assert options.options["targets"] == ["a", "c"]
