"""The section `probes`: who may be asked for, and what is wrong with a module."""

from pathlib import Path

import pytest

from pollect.config.load import load_config, read_sound
from pollect.config.probes import AllowList
from pollect.testing.build import installed_types


@pytest.mark.parametrize(
    ("entries", "host"),
    [
        (["example.org"], "example.org"),
        (["example.org"], "EXAMPLE.org."),
        (["*.example.org"], "a.b.example.org"),
        (["10.0.0.0/8"], "10.1.2.3"),
        (["10.0.0.1"], "10.0.0.1"),
        (["10.0.0.0/8"], "::ffff:10.1.2.3"),
        (["127.0.0.0/8"], "127.1"),
        (["fd00::/8"], "fd12::1"),
        (["fe80::/10"], "fe80::1%eth0"),
        (["*"], "anything.example"),
        (["*"], "169.254.169.254"),
        (["router", "10.0.0.0/8"], "router"),
    ],
)
def test_a_target_on_the_list_may_be_asked_for(entries: list[str], host: str) -> None:
    assert AllowList(entries).allows(host)


@pytest.mark.parametrize(
    ("entries", "host"),
    [
        (["example.org"], "evil.org"),
        (["example.org"], "a.example.org"),
        (["*.example.org"], "example.org.evil.org"),
        (["10.0.0.0/8"], "11.0.0.1"),
        (["10.0.0.0/8"], "router"),
        (["10.0.0.0/8"], "::ffff:169.254.169.254"),
        (["*.example.org", "10.0.0.0/8"], "2852039166"),
        (["*.example.org", "10.0.0.0/8"], "0xa9fea9fe"),
        (["*.example.org"], "10.0.0.1"),
        (["a*"], "aaaa::1"),
    ],
)
def test_no_other_target_may_be_asked_for(entries: list[str], host: str) -> None:
    assert not AllowList(entries).allows(host)


@pytest.mark.parametrize("entry", ["10.0.0.*", "10.0.0.0/99", "a/b", "", "1*", "10.0.0.1-9"])
def test_an_entry_that_would_allow_something_else_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        AllowList([entry])


def problems(folder: Path, probes: str) -> list[str]:
    file = folder / "config.yml"
    file.write_text(
        f"writer: {{type: DryRun}}\nprobes: {probes}\n"
        "executors: [{collection: a, sources: [{type: Uptime}]}]\n"
    )
    _, found = read_sound(file, installed_types(), environ={})
    return [str(error) for error in found.all()]


@pytest.mark.parametrize(
    ("probes", "problem"),
    [
        ("[a]", "probes: expected a mapping of names, got a list"),
        ("{a: 1}", "probes.a: expected a mapping, got 1"),
        ("{a.b: {type: Ping, allow: x}}", "expected a name of letters"),
        ("{a: {type: Ping}}", "probes.a.allow: required option missing"),
        ("{a: {type: Ping, allow: []}}", "probes.a.allow: expected at least 1 in the list"),
        ("{a: {type: Ping, allow: 10.0.0.*}}", "probes.a.allow: expected a network such as"),
        ("{a: {type: Ping, allow: x, concurrency: 0}}", "probes.a.concurrency: expected"),
        ("{a: {type: Ping, allow: x, counts: 3}}", "probes.a.counts: unknown option"),
        ("{a: {type: Pink, allow: x}}", "probes.a.type: unknown source type 'Pink'"),
        ("{a: {type: Uptime, allow: x}}", "Uptime has no option that a target fills"),
        ('{a: {type: Http, url: "http://${target}/${NO}", allow: x}}', "NO is not set"),
    ],
)
def test_a_mistake_in_a_module_is_named_with_its_place(tmp_path, probes, problem) -> None:
    found = problems(tmp_path, probes)
    assert any(problem in text for text in found), found
    assert all(f"{tmp_path}/config.yml:2:" in text for text in found), found


def test_a_module_is_a_source_without_its_target(tmp_path) -> None:
    probes = '{http_2xx: {type: Http, timeout: 3, allow: ["*"]}, ssh: {type: TcpTime, allow: a}}'
    assert problems(tmp_path, probes) == []
    config = load_config(tmp_path / "config.yml", installed_types(), environ={})
    assert [module.name for module in config.probes] == ["http_2xx", "ssh"]
    assert config.probes[1].options.allow == ("a",)
