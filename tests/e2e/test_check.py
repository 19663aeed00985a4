"""`pollect check`: all mistakes at once, and exit codes that scripts can rely on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_SECONDS, call
from tests.simulators.certificates import Authority
from tests.tools.distributions import write_distribution

GOOD = """\
executors:
  - collection: house
    sources:
      - {type: Dummy, value: 1}
writers: [{type: DryRun}]
"""

SEVEN_MISTAKES = """\
tickTime: -fast
executors:
  - collection: house
    sources:
      - type: LodAvg
      - type: Dummy
        valeu: 1
      - type: Dummy
        name: second
        count: -1
      - type: Dummy
        name: ${NO_SUCH_VARIABLE}
      - type: Process
        name: none
writers:
  - type: Promethoys
    password: the-secret-of-the-house
"""

PLUGIN = """
from pollect.api import ConfigError, Needs, Program, Source, SourceConfig, SourceSpec, hookimpl

class PickySource(Source):
    "Refuses its config when it is built."
    def __init__(self, config, context):
        super().__init__(config, context)
        raise ConfigError("no such room", key="name", hint="rooms are attic and cellar")

class FragileSource(Source):
    "Has a programming error."
    def __init__(self, config, context):
        super().__init__(config, context)
        {}["missing"]

def needs(program):
    return Needs(programs=(program,))


@hookimpl
def pollect_sources():
    return [
        PickySource,
        FragileSource,
        SourceSpec("Bat", "odd:NoSuchSource", extra="sonar"),
        SourceSpec("Owl", "odd:OwlSource", needs=needs(Program("pollect-owl", "owl-tools"))),
        SourceSpec("Owlet", "odd:OwlSource", needs=needs(Program("owlet", "owl", optional=True))),
    ]

class OwlConfig(SourceConfig, frozen=True, kw_only=True):
    command: str | None = None

class OwlSource(Source):
    "Needs a program."
    config_type = OwlConfig
"""
EXTRAS = {"sonar": ["no-such-library>=2"]}


def check(folder: Path, config: str | None, plugin: str = PLUGIN):
    site = folder / "site"
    write_distribution(site, "pollect-odd", modules={"odd.py": plugin}, plugin="odd", extras=EXTRAS)
    if config is not None:
        (folder / "config.yml").write_text(config)
    return call("check", "config.yml", folder=folder, environ={"PYTHONPATH": str(site)})


def with_source(section: str) -> str:
    return GOOD.replace("type: Dummy, value: 1", section)


def test_config_without_mistakes_exits_with_0(tmp_path: Path) -> None:
    done = check(tmp_path, GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("no mistakes in config.yml: 1 source in 1 executor, written by DryRun\n")


def test_all_mistakes_are_told_at_once_with_their_place_and_no_secret(tmp_path: Path) -> None:
    done = check(tmp_path, SEVEN_MISTAKES)
    assert done.returncode == 2
    places = re.findall(r"^config\.yml:\d+:\d+: (\S+): ", done.stderr, re.MULTILINE)
    assert places == [
        "tickTime",
        "executors[0].sources[0].type",
        "executors[0].sources[1].valeu",
        "executors[0].sources[2].count",
        "executors[0].sources[3].name",
        "executors[0].sources[4].procRegex",
        "writers[0].type",
    ]
    for hint in ("'LoadAvg'", "'value'", "NO_SUCH_VARIABLE", "'Prometheus'"):
        assert hint in done.stderr
    assert "the-secret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("section", "code", "line"),
    [
        (
            "type: Bat",
            3,
            "executors[0].sources[0].type: source Bat needs no-such-library>=2: "
            "pip install 'pollect-odd[sonar]'",
        ),
        (
            "type: Owl",
            3,
            "executors[0].sources[0].type: needs the program pollect-owl: apt install owl-tools",
        ),
        (
            "type: Picky, name: x",
            2,
            "executors[0].sources[0].name: no such room (rooms are attic and cellar)",
        ),
        (
            "type: Fragile",
            3,
            "executors[0].sources[0]: Fragile fails to start: KeyError: 'missing'",
        ),
        ("type: Nowhere", 3, "executors[0].sources[0].type: unknown source type 'Nowhere'"),
        ("type: Dummy, vaule: 1", 2, "executors[0].sources[0].vaule: unknown option"),
    ],
    ids=lambda value: str(value).partition(",")[0] if isinstance(value, str) else "",
)
def test_exit_code_tells_a_mistake_from_something_missing(
    tmp_path: Path, section: str, code: int, line: str
) -> None:
    done = check(tmp_path, with_source(section))
    assert re.fullmatch(rf"config\.yml:4:\d+: {re.escape(line)}.*\n", done.stderr)
    assert done.returncode == code


def test_source_that_is_switched_off_needs_nothing(tmp_path: Path) -> None:
    assert check(tmp_path, with_source("type: Owl, enabled: false")).stderr == ""


@pytest.mark.parametrize("section", ["type: Owl, command: /opt/owl", "type: Owlet"])
def test_program_that_is_replaced_or_optional_is_not_missed(tmp_path: Path, section: str) -> None:
    assert check(tmp_path, with_source(section)).stderr == ""


def test_broken_plugin_that_the_config_does_not_name_is_told_and_no_mistake(
    tmp_path: Path,
) -> None:
    done = check(tmp_path, GOOD, plugin="raise RuntimeError('no luck')")
    assert done.returncode == 0
    assert "plugin pollect-odd 1.0: odd fails at import: RuntimeError: no luck" in done.stderr


def test_plugin_may_refuse_a_whole_config(tmp_path: Path) -> None:
    hook = """
@hookimpl
def pollect_config_loaded(config):
    if len(config["executors"]) == 1:
        raise ConfigError("one executor is not enough", key="executors")
"""
    done = check(tmp_path, GOOD, plugin=PLUGIN + hook)
    assert done.returncode == 2
    assert done.stderr == "config.yml:1:1: executors: one executor is not enough\n"


def test_config_that_is_not_there_says_what_was_tried(tmp_path: Path) -> None:
    done = call("check", "nothing", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "no config file, tried nothing, nothing.yml, nothing.yaml, nothing.json\n"
    )


TLS = """\
executors: [{collection: house, sources: [{type: Dummy, value: 1}]}]
writers:
  - type: PrometheusSsl
    bind: 127.0.0.1
    port: 0
    cert: server.pem
    key: %s
  - type: Prometheus
    bind: 127.0.0.1
    port: 0
    tls:
      cert: server.pem
      key: server.key
      clientCa: %s
"""


@pytest.fixture
def certificates(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    leaf = authority.issue("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "server.key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    authority.issue("127.0.0.1").private_key_pem.write_to_path(tmp_path / "other.key")
    return authority


@pytest.mark.parametrize("command", [("check",), ("run", "--config"), ("--config",)])
def test_files_for_tls_that_are_no_good_are_told_before_anything_starts(
    tmp_path: Path, certificates: Authority, command: tuple[str, ...]
) -> None:
    (tmp_path / "config.yml").write_text(TLS % ("other.key", "absent.pem"))
    done = call(*command, "config.yml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"config.yml:7:5: writers[0].key: the key {tmp_path / 'other.key'} does not belong to the "
        f"certificate {tmp_path / 'server.pem'}\n"
        f"config.yml:14:7: writers[1].tls.clientCa: cannot read {tmp_path / 'absent.pem'}: "
        "No such file or directory\n"
    )
    assert "listening" not in done.stdout


def test_key_that_the_user_may_not_read_is_told(tmp_path: Path, certificates: Authority) -> None:
    (tmp_path / "server.key").chmod(0)
    (tmp_path / "config.yml").write_text(TLS % ("server.key", certificates.ca_file))
    # Only without its capabilities is root refused what is its own.
    mortal = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = call("check", "config.yml", folder=tmp_path, prefix=mortal)
    assert done.returncode == 2
    problem = f"cannot read {tmp_path / 'server.key'}: Permission denied"
    assert f"config.yml:7:5: writers[0].key: {problem}\n" in done.stderr


def test_files_for_tls_that_are_good_are_no_mistake(
    tmp_path: Path, certificates: Authority
) -> None:
    (tmp_path / "config.yml").write_text(TLS % ("server.key", certificates.ca_file))
    done = call("check", "config.yml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "code"), [(("run", "-c"), 3), (("run", "--strict", "-c"), 2), (("check",), 2)]
)
def test_unknown_option_beside_a_missing_plugin_counts_where_it_is_a_mistake(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    config = GOOD.replace("sources:", "sources:\n      - {type: NoSuchType}", 1)
    (tmp_path / "config.yml").write_text(config.replace("value: 1", "value: 1, colour: red"))
    done = call(*command, "config.yml", folder=tmp_path)
    assert done.returncode == code
    assert "unknown source type 'NoSuchType'" in done.stderr
    assert "colour: unknown option" in done.stderr


def test_metadata_is_read_once_however_many_sources_need_it(tmp_path: Path) -> None:
    """Parsing it for each source made `check` of 2,000 sources take 10 s."""
    sources = "".join(
        f"      - {{type: Http, name: n{number}, url: 'http://localhost:1/'}}\n"
        for number in range(20)
    )
    (tmp_path / "config.yml").write_text(
        f"writers: [{{type: InMemory}}]\nexecutors:\n  - collection: c\n    sources:\n{sources}"
    )
    counting = (
        "import collections, sys\nimport importlib_metadata as metadata\n"
        "asked = collections.Counter()\nread = metadata.distribution\n"
        "def distribution(name):\n    asked[name] += 1\n    return read(name)\n"
        "metadata.distribution = distribution\n"
        "from pollect.cli.process import call\nassert call(['check']) == 0\n"
        "assert set(asked.values()) == {1}, asked\nassert 'pollect-sources-network' in asked\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", counting], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_only_constructors_refuse_is_reported_with_all_other_mistakes(tmp_path: Path) -> None:
    sections = ["type: Picky", "type: Dummy, valeu: 1", "type: Bat, name: '${if}', lables: 1"]
    text = with_source("}\n      - {".join(sections)).replace("house", "''")
    done = check(tmp_path, text)
    assert [line.partition(": ")[2] for line in done.stderr.splitlines()] == [
        "executors[0].collection: expected text that is not empty, got ''",
        "executors[0].sources[0].name: no such room (rooms are attic and cellar)",
        "executors[0].sources[1].valeu: unknown option (did you mean 'value'?)",
        "executors[0].sources[2].type: source Bat needs no-such-library>=2: "
        "pip install 'pollect-odd[sonar]'",
    ]


def test_a_missing_extra_is_one_message_and_the_section_is_judged_all_the_same(
    tmp_path: Path,
) -> None:
    plugin = PLUGIN.replace('"odd:NoSuchSource"', '"odd:BatSource"') + (
        "\nclass BatConfig(SourceConfig, frozen=True, kw_only=True):\n"
        "    lines: str\n"
        "    @classmethod\n"
        "    def placeholders(cls, section):\n"
        "        return {'if'}\n"
        "\nclass BatSource(Source):\n    config_type = BatConfig\n"
    )
    done = check(tmp_path, with_source('type: Bat, lines: "1.${if}", tickTme: 1'), plugin)
    assert done.returncode == 2
    assert [line.partition(": ")[2] for line in done.stderr.splitlines()] == [
        "executors[0].sources[0].type: source Bat needs no-such-library>=2: "
        "pip install 'pollect-odd[sonar]'",
        "executors[0].sources[0].tickTme: unknown option (did you mean 'tickTime'?)",
    ]


def test_json_has_the_place_and_the_cure_of_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(with_source("type: Dumy"))
    done = call("check", "--json", "config.yml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout) == {
        "ok": False,
        "summary": None,
        "problems": [
            {
                "file": "config.yml",
                "line": 4,
                "column": 10,
                "key": "executors[0].sources[0].type",
                "problem": "unknown source type 'Dumy'",
                "hint": "did you mean 'Dummy'?",
                "missing": True,
                "warning": False,
            }
        ],
    }
    (tmp_path / "config.yml").write_text(GOOD)
    done = call("check", "--json", "config.yml", folder=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    done = call("check", "--json", "nowhere.yml", folder=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"][0]["problem"].startswith("no config file, tried")


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ("{type: Prometheus, port: 8123, bind: 127.0.0.1}", True),
        ("{type: Prometheus, port: 8123, processMetrics: false}", True),
        ("{type: Prometheus, port: 8124}", False),
    ],
)
def test_two_that_listen_on_one_port_are_refused(
    tmp_path: Path, second: str, refused: bool
) -> None:
    writers = f"writers:\n  - {{type: Prometheus, port: 8123}}\n  - {second}\n"
    done = check(tmp_path, GOOD.replace("writers: [{type: DryRun}]\n", writers))
    message = (
        "config.yml:7:24: writers[1].port: port 8123 is already used by writers[0] "
        "(give one of them another port)\n"
    )
    assert (done.returncode, done.stderr) == ((2, message) if refused else (0, ""))


@pytest.mark.parametrize(
    ("first", "second", "problems"),
    [
        # Options that cannot be read, a constructor that refuses, and the first of the two.
        ("", "bind: 127.0.0.1, page: 7", ["[1].page", "[1].port: port 8123 is"]),
        ("", "bind: 127.0.0.1, tls: {cert: /no, key: /no}", ["[1].port: port 8123 is", "[1].tls"]),
        ("page: 7, bind: 127.0.0.1", "", ["[0].page", "[0].port: port 8123 is"]),
        ("bind: 127.0.0.1, page: 7", "page: 8", ["[0].page", "[1].page", "[1].port: port 8123 is"]),
        # What is wrong may be why they seem to collide.
        ("", "bind: [], page: 7", ["[1].bind", "[1].page"]),
        ("port: 8080", "port: 99999", ["[1].port: expected"]),
        ("page: 7", "page: 7", ["[0].page", "[1].page"]),
    ],
)
def test_two_on_one_port_are_found_while_one_has_another_mistake(
    tmp_path: Path, first: str, second: str, problems: list[str]
) -> None:
    sections = [
        f"type: Prometheus, {options}" + ("" if "port:" in options else ", port: 8123")
        for options in (first, second)
    ]
    writers = "".join(f"  - {{{section.replace(', ,', ',')}}}\n" for section in sections)
    done = check(tmp_path, GOOD.replace("writers: [{type: DryRun}]\n", f"writers:\n{writers}"))
    found = sorted(line.partition(": writers")[2] for line in done.stderr.splitlines())
    assert len(found) == len(problems), found
    assert all(line.startswith(start) for line, start in zip(found, problems, strict=True)), found


def test_sections_of_which_there_is_only_the_type_say_how_to_write_them(tmp_path: Path) -> None:
    text = "writer: DryRun\nexecutors: [{collection: a, sources: [LoadAvg]}]\n"
    done = check(tmp_path, text)
    assert [line.partition(": ")[2] for line in done.stderr.splitlines()] == [
        "writer: expected a mapping, got text (write `writer: {type: DryRun}`)",
        "executors[0].sources[0]: expected a mapping, got text (write `- type: LoadAvg`)",
    ]


def test_config_from_a_pipe_is_read_once_and_its_places_are_known(tmp_path: Path) -> None:
    """Reading it again would find nothing, and costs half a second with 2,000 sources."""
    os.mkfifo(tmp_path / "config.yml")
    text = with_source("type: Owl")
    with subprocess.Popen(
        ["sh", "-c", 'printf %s "$1" > config.yml', "sh", text], cwd=tmp_path
    ) as program:
        done = check(tmp_path, None)
        program.wait(LIMIT_SECONDS)
    assert done.returncode == 3
    assert done.stderr.startswith("config.yml:4:10: executors[0].sources[0].type: ")
    assert "owl-tools" in done.stderr


def test_a_file_of_tls_that_cannot_be_read_is_a_warning_at_its_option(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pem")  # must not be waited for
    (tmp_path / "config.yml").write_text(
        "writers:\n"
        "  - {type: Mqtt, host: broker, tls: {ca: gone.pem, cert: fifo.pem}}\n"
        "  - {type: InfluxDb, url: 'https://a', bucket: b, tls: {ca: .}}\n"
        "executors:\n"
        "  - collection: house\n"
        "    sources:\n"
        "      - {type: Http, url: 'https://a', clientKey: key.pem, clientCert: gone/cert.pem}\n"
        "      - {type: Http, name: off, url: 'https://a', caFile: gone.pem, enabled: false}\n"
        "  - {collection: garden, sources: [{type: LoadAvg}]}\n"
    )
    done = call("check", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: config.yml:2:38: writers[0].tls.ca: cannot read gone.pem: "
        "No such file or directory",
        "warning: config.yml:7:40: executors[0].sources[0].clientKey: cannot read key.pem: "
        "No such file or directory",
        "warning: config.yml:7:60: executors[0].sources[0].clientCert: cannot read gone/cert.pem: "
        "No such file or directory",
    ]


def test_a_warning_beside_a_mistake_is_marked_as_one(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        "writer: {type: Mqtt, host: broker, tls: {ca: gone.pem}}\n"
        "executors: [{collection: a, sources: [{type: Dummy, valeu: 1}]}]\n"
    )
    done = call("check", folder=tmp_path)
    assert done.returncode == 2
    warning, mistake = done.stderr.splitlines()
    assert warning.startswith("warning: config.yml:1:42: writer.tls.ca: cannot read gone.pem")
    assert mistake.startswith("config.yml:2:53: executors[0].sources[0].valeu: unknown option")
