"""What pages name in passing exists: commands in the README, writers in the YAML of their pages."""

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.test_command_line import ALL
from tests.e2e.command import call

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"`pollect ([a-z][a-z-]*(?: (?:list|show|new))?)")
FENCED_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ONE_SOURCE = [{"collection": "home", "sources": [{"type": "LoadAvg"}]}]


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"run", "check", "plugins new"} <= named
    assert {f"pollect {name}" for name in named} - set(ALL) == set()


def writers_of(page: str) -> list[object]:
    """Return the whole sections of writers on a page; blocks with a part of one are left out."""
    found: list[object] = []
    for text in FENCED_YAML.findall((ROOT / page).read_text(encoding="utf-8")):
        block = yaml.safe_load(text)
        found += block if isinstance(block, list) else block.get("writers", [])
    return found


@pytest.mark.parametrize("page", ["docs/mqtt.md", "docs/prometheus.md"])
def test_writers_of_a_page_have_no_mistakes(page: str, tmp_path: Path) -> None:
    writers = writers_of(page)
    assert writers
    (tmp_path / "config.yml").write_text(
        yaml.safe_dump({"writers": writers, "executors": ONE_SOURCE})
    )
    done = call("check", folder=tmp_path, environ={"MQTT_PASSWORD": "secret"})
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
