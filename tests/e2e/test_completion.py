"""What the shells offer on Tab, asked as they ask: bash itself, the others by their variables."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command import POLLECT, call

CONFIG = """\
executors:
  - {collection: a, sources: [{type: LoadAvg}, {type: Http, name: shop}]}
"""


def complete(line: str, folder: Path) -> list[str]:
    """Return what bash offers at the end of `line`."""
    script = f"""
eval "$({POLLECT} completion bash)"
COMP_WORDS=({line}'')
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ local IFS=" "; echo "compopt $*"; }}
_pollect_completion {POLLECT}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pollect che", ["check"]),
        ("pollect plugins sh", ["show"]),
        ("pollect plugins show loada", ["LoadAvg"]),
        ("pollect probe LoadA", ["LoadAvg"]),
        ("pollect probe TcpTime ports=1 tick", ["compopt -o nospace", "tickTime="]),
        ("pollect probe -c config.yml s", ["shop"]),
        ("pollect check co", ["compopt -o default", ""]),
        ("pollect run -c co", ["compopt -o default", ""]),
        ("pollect completion f", ["fish"]),
    ],
)
def test_bash_offers_commands_types_options_and_files(
    tmp_path: Path, line: str, offered: list[str]
) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    assert complete(line, tmp_path) == offered


@pytest.mark.parametrize(
    ("shell", "environ", "offered"),
    [
        (
            "zsh",
            {"COMP_WORDS": "pollect plugins show LoadA", "COMP_CWORD": "3"},
            "plain\nLoadAvg\nLoad averages\n",
        ),
        ("fish", {"COMP_WORDS": "pollect che", "COMP_CWORD": "che"}, "plain,check\t"),
    ],
)
def test_the_other_shells_ask_and_are_answered(
    shell: str, environ: dict[str, str], offered: str
) -> None:
    script = call("completion", shell).stdout
    assert f"_POLLECT_COMPLETE={shell}_complete" in script
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=script, text=True, check=True)
    done = call(environ={**environ, "_POLLECT_COMPLETE": f"{shell}_complete"})
    assert done.stdout.replace("\n", "\n").startswith(offered)
