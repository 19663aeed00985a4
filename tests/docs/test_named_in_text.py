"""What pages name in passing exists: commands in the README, writers in the YAML of their pages."""

import re
from pathlib import Path

import pytest
import yaml

from pollect.discovery.registry import Registry
from tests.docs.test_command_line import ALL
from tests.e2e.command import call
from tests.simulators.certificates import Authority

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"(?:`|^\$ )pollect ([a-z][a-z-]*(?: (?:list|show|new))?)", re.MULTILINE)
FENCED_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Of the environment that the pages suppose.
SECRETS = ("INFLUX_TOKEN", "KAFKA_PASSWORD", "MQTT_PASSWORD", "NATS_PASSWORD")
ONE_SOURCE = [{"collection": "home", "sources": [{"type": "LoadAvg"}]}]


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"run", "check", "plugins new"} <= named
    of_plugins = {f"pollect {command.name}" for _, command in Registry().commands()}
    assert {f"pollect {name}" for name in named} - set(ALL) - of_plugins == set()


def writers_of(page: str) -> list[object]:
    """Return the whole sections of writers on a page; blocks with a part of one are left out."""
    found: list[object] = []
    for text in FENCED_YAML.findall((ROOT / page).read_text(encoding="utf-8")):
        block = yaml.safe_load(text)
        found += block if isinstance(block, list) else block.get("writers", [])
    return found


def write_certificates(folder: Path) -> None:
    """Write what the pages suppose in `/etc/pollect`."""
    authority = Authority(folder)
    leaf = authority.issue("pollect.lan")
    leaf.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    authority.ca_file.rename(folder / "clients.pem")


def test_configs_of_the_page_about_configs_have_no_mistakes(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.yml").write_text(
        "executors: [{collection: home, sources: [{type: LoadAvg}]}]\n"
    )
    configs = FENCED_YAML.findall((ROOT / "docs" / "configuring.md").read_text(encoding="utf-8"))
    whole = [text for text in configs if "executors:" in text]
    assert whole
    for text in whole:
        (tmp_path / "config.yml").write_text(text)
        done = call("check", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("page", ["docs/mqtt.md", "docs/prometheus.md", "docs/transports.md"])
def test_writers_of_a_page_have_no_mistakes(page: str, tmp_path: Path) -> None:
    writers = writers_of(page)
    assert writers
    config = yaml.safe_dump({"writers": writers, "executors": ONE_SOURCE})
    (tmp_path / "config.yml").write_text(config.replace("/etc/pollect/", f"{tmp_path}/"))
    write_certificates(tmp_path)
    done = call("check", folder=tmp_path, environ=dict.fromkeys(SECRETS, "secret"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
