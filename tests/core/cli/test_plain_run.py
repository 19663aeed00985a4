"""`run -c FILE` and `run FILE` are read without click, and mean the same."""

import pytest

from pollect.cli.calling import config_of_plain_run
from pollect.cli.run import run


@pytest.mark.parametrize("option", [["-c"], ["--config"], []])
@pytest.mark.parametrize("file", ["/etc/pollect/config.yml", "config", "with blank", "a=b", "run"])
def test_plain_run_means_what_click_makes_of_it(option: list[str], file: str) -> None:
    assert config_of_plain_run(["run", *option, file]) == file
    params = run.make_context("run", [*option, file]).params
    assert params == {"config_name": file, "dry_run": False, "once": False, "strict": False}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-c file",
        "run",
        "run -c",
        "run -x",
        "run file file",
        "run -c -c",
        "run -c --strict",
        "run -c file --once",
        "run --strict -c file",
        "run -c file file",
        "check -c file",
        "run --conf file",
        "run --config=file",
    ],
)
def test_all_other_command_lines_are_left_to_click(line: str) -> None:
    assert config_of_plain_run(line.split()) is None
