"""What the shells offer on Tab: bash, zsh and fish themselves are asked."""

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pollect.cli.commands import pollect
from tests.e2e.command import LIMIT_SECONDS, POLLECT
from tests.simulators.daemons import find_program

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


#: What is typed before Tab, and the words of the line after it and an X.
LINES = [
    ("pollect che", ["check", "X"]),
    ("pollect plugins sh", ["show", "X"]),
    ("pollect plugins show loada", ["LoadAvg", "X"]),
    ("pollect probe LoadA", ["LoadAvg", "X"]),
    # No blank behind the key: its value follows.
    ("pollect probe TcpTime hosts=a tick", ["tickTime=X"]),
    ("pollect probe -c config.yml s", ["shop", "X"]),
    ("pollect check co", ["config.yml", "X"]),
    ("pollect run -c co", ["config.yml", "X"]),
    ("pollect rules co", ["config.yml", "X"]),
    ("pollect completion f", ["fish", "X"]),
    ("pollect check --js", ["--json", "X"]),
]


class Terminal:
    """An interactive shell, as somebody who types sees it."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._child, self._file = pty.fork()
        if self._child == 0:
            os.chdir(folder)
            path = f"{Path(POLLECT).parent}:{os.environ['PATH']}"
            environ = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
            os.execvpe(command[0], command, environ)
        self._seen = ""

    def type(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def until(self, mark: str) -> str:
        """Return what was printed before `mark`."""
        while mark not in self._seen:
            ready, _, _ = select.select([self._file], [], [], LIMIT_SECONDS)
            assert ready, f"no {mark!r} in {self._seen!r}"
            self._seen += os.read(self._file, 65536).decode(errors="replace")
        found, _, self._seen = self._seen.partition(mark)
        return found

    def close(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        os.close(self._file)


@pytest.fixture
def zsh(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "config.yml").write_text(CONFIG)
    terminal = Terminal(tmp_path, find_program("zsh", "zsh"), "-f", "-i")
    terminal.type("PS1= PS2=; unsetopt zle_bracketed_paste prompt_sp; setopt no_beep\n")
    terminal.type('autoload -U compinit; compinit -D -u; eval "$(pollect completion zsh)"\n')
    terminal.type("echo rea''dy\n")
    terminal.until("ready")
    yield terminal
    terminal.close()


def test_tab_in_zsh_completes_commands_types_options_and_files(zsh: Terminal) -> None:
    found = []
    for line, _ in LINES:
        # Tab, an X, and at the beginning of the line (Ctrl-A) a command that prints its words.
        zsh.type(f"{line}\tX\x01print -rl -- '<' \x05 '>'; echo do''ne\n")
        printed = zsh.until("\ndone").replace("\r", "")
        words = printed.rpartition("\n<\n")[2].rpartition("\n>")[0].split("\n")
        found.append((line, words[len(line.split()) - 1 :]))
    assert found == LINES


def test_tab_in_fish_completes_commands_types_options_and_files(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    # What fish itself makes of a line; it adds no blank to what ends with an equals sign.
    script = "pollect completion fish | source\n" + "".join(
        f"echo '> {line}'; complete -C '{line}'\n" for line, _ in LINES
    )
    done = subprocess.run(
        [find_program("fish", "fish"), "--no-config", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "PATH": f"{Path(POLLECT).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    parts = [part.splitlines() for part in done.stdout.split("> ")[1:]]
    found = [(line, [each.partition("\t")[0] for each in offered]) for line, *offered in parts]
    assert found == [(line, [words[0].removesuffix("X")]) for line, words in LINES]


def test_every_parameter_that_is_a_config_completes_files() -> None:
    unfinished = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in commands(pollect, ())
        for parameter in command.params
        if parameter.name == "config_name" and not offers_files(parameter, command)
    ]
    assert unfinished == []


def offers_files(parameter: click.Parameter, command: click.Command) -> bool:
    items = parameter.shell_complete(click.Context(command), "co")
    return [item.type for item in items] == ["file"]


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))
