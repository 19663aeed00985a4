"""Dashboards and rules, asked of a real Prometheus that scrapes real daemons with every source."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.contract.families import families
from tests.e2e.command import call, start
from tests.simulators.daemons import find_program, free_port

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.yml"
#: Prometheus needs two scrapes for a rate, and the daemon two probes for one of its own.
PATIENCE_SECONDS = 600.0
#: Series of a fleet and of values left out: neither daemon has any.
ABSENT_HERE = re.compile("pollect_fleet_.*|pollect_source_dropped_samples_total")


class Question(NamedTuple):
    """What a panel or a rule asks; the labels are those that a legend names."""

    of: str
    expression: str
    labels: Sequence[str] = ()


class Prometheus:
    """A running server that scrapes daemons and evaluates their rules."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def shows(self, question: Question) -> bool:
        """Tell whether there is a series, and one with each label."""
        found = self._ask(f"query?{urllib.parse.urlencode({'query': question.expression})}")
        series = [each["metric"] for each in found.get("result", ())]
        return bool(series) and all(
            any(label in each for each in series) for label in question.labels
        )

    def rules(self) -> list[Mapping[str, Any]]:
        return [rule for group in self._ask("rules").get("groups", ()) for rule in group["rules"]]

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._url}/{path}", timeout=30) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except OSError:
            return {}
        return data


@contextmanager
def scraping(folder: Path, instances: Sequence[str], rules: Sequence[str]) -> Iterator[Prometheus]:
    port = free_port()
    config = {
        "global": {
            # On a busy machine an exposition of all sources takes more than a second.
            "scrape_interval": "4s",
            "evaluation_interval": "4s",
        },
        "rule_files": ["rules-*.yml"],
        "scrape_configs": [{"job_name": "pollect", "static_configs": [{"targets": instances}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    for number, text in enumerate(rules):
        (folder / f"rules-{number}.yml").write_text(text)
    command = [
        find_program("prometheus", "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Prometheus(port)
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def configs(tmp_path: Path) -> Iterator[Sequence[Path]]:
    """The quickstart, and a config with every source, asked for all it can say."""
    quickstart = yaml.safe_load(QUICKSTART.read_text("utf-8"))
    with families(tmp_path) as parts:
        files = []
        for name, config in (("quickstart", quickstart), ("everything", parts)):
            writers = [
                {"type": "Prometheus", "port": free_port(), "bind": "127.0.0.1"},
                {"type": "JsonLines", "path": f"{name}.jsonl"},
            ]
            config = {key: value for key, value in config.items() if key != "writer"}
            files.append(tmp_path / name / "config.json")
            files[-1].parent.mkdir()
            files[-1].write_text(json.dumps({**config, "tickTime": 2, "writers": writers}))
        yield files


@pytest.mark.timeout(900)
def test_every_panel_and_every_rule_finds_its_series(
    configs: Sequence[Path], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        questions: list[Question] = []
        instances, rules = [], []
        for config in configs:
            instances.append(f"127.0.0.1:{json.loads(config.read_text())['writers'][0]['port']}")
            questions += of_panels(config, instances[-1])
            rules.append(printed("rules", config))
            questions += of_rules(rules[-1], instances[-1])
            daemon = stack.enter_context(start("run", "-c", config, folder=config.parent))
            daemon.wait_for("listening on")
        prometheus = stack.enter_context(scraping(tmp_path, instances, rules))
        until = time.monotonic() + PATIENCE_SECONDS
        while questions and time.monotonic() < until:
            time.sleep(0.5)
            questions = [each for each in questions if not prometheus.shows(each)]
        evaluated = prometheus.rules()

    assert not questions, "\n".join(f"{each.of}: {each.expression}" for each in questions)
    assert len(evaluated) == sum(text.count("- alert:") for text in rules)
    assert {
        rule["name"]: rule.get("lastError") for rule in evaluated if rule["health"] != "ok"
    } == {}


def printed(command: str, config: Path) -> str:
    done = call(command, config)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_panels(config: Path, instance: str) -> Iterator[Question]:
    for panel in json.loads(printed("dashboard", config))["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "1m")
            labels = re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))
            yield Question(panel["title"], filled.replace("$instance", instance), labels)


def of_rules(text: str, instance: str) -> Iterator[Question]:
    """Yield each selector of each rule, since a rule that is silent has no series itself."""
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            for name, labels in re.findall(r"\b((?:all|pollect)_\w+)(?:{(.*?)})?", rule["expr"]):
                if not ABSENT_HERE.fullmatch(name):
                    matchers = ", ".join(filter(None, (labels, f'instance="{instance}"')))
                    yield Question(rule["alert"], f"{name}{{{matchers}}}")
