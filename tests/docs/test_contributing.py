"""The steps of CONTRIBUTING.md name files, commands and names that exist."""

import re
from pathlib import Path

import pytest

import pollect.api
import pollect.testing
from pollect_writers import http

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)
COMMANDS = [
    *re.findall(r"^\$ (make .*)$", PAGE, re.MULTILINE),
    *(code for code in CODE if re.match(r"(sudo )?make ", code)),
]
#: What the page invents to explain the steps.
INVENTED = ("rain_gauge", "RainGauge", "TYPE")
#: Names of a file and what the page says stands in it.
NAMED_IN = {
    "deploy/Containerfile": "ARG FAMILIES=",
    "pyproject.toml": "known-first-party = [",
    "pollect-sources-cloud/README.md": "<!-- end of sources -->",
    "tests/core/cli/test_derived.py": "everything.yml",
}


def is_real(text: str) -> bool:
    return not any(word in text for word in INVENTED) and "<" not in text


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_target_of_make_exists_and_every_path_it_is_given(command: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    words, _, arguments = command.partition(" ARGS=")
    assert set(words.removeprefix("sudo ").split()[1:]) <= set(targets)
    for argument in arguments.strip('"').split():
        if "/" in argument:
            assert (ROOT / argument).exists(), argument


@pytest.mark.parametrize(
    "path", sorted({c for c in CODE if re.fullmatch(r"[\w.<>/-]+/[\w./-]*", c)})
)
def test_every_path_exists(path: str) -> None:
    if is_real(path) and not path.startswith("src/"):
        assert (ROOT / path).exists() or (ROOT / "pollect-sources-cloud" / path).exists()


@pytest.mark.parametrize("name", sorted({c for c in CODE if re.fullmatch(r"[A-Z]\w+[a-z]", c)}))
def test_every_class_is_one_of_the_api(name: str) -> None:
    if is_real(name):
        assert any(hasattr(each, name) for each in (pollect.api, pollect.testing, http))


@pytest.mark.parametrize(("file", "text"), NAMED_IN.items())
def test_what_a_step_has_to_be_written_to_is_there(file: str, text: str) -> None:
    assert text in (ROOT / file).read_text("utf-8")
