"""What commands assume of sources and writers that others wrote: that they may be anything."""

import json
import subprocess
import sys

import pytest

from tests.tools.distributions import write_distribution

HEAD = """
from typing import Annotated, Any
from msgspec import Meta
from pollect.api import Metric, Source, SourceConfig, SourceSpec, Writer, WriterConfig
from pollect.api import WriterSpec, hookimpl

M = Metric("x", help="x.")

def boom(self):
    raise ValueError("boom")

def setting(name, value):
    def construct(self, config, context):
        super(type(self), self).__init__(config, context)
        setattr(self, name, value)
    return construct

@hookimpl
def pollect_sources():
    return [SourceSpec(n, f"odd:{n}") for n in globals() if n.startswith("Source_")]

@hookimpl
def pollect_writers():
    return [WriterSpec(n, f"odd:{n}") for n in globals() if n.startswith("Writer_")]

class PlainSource(Source[SourceConfig]):
    metrics = (M,)
    def probe(self):
        return [M.sample(1)]

class PlainWriter(Writer[WriterConfig]):
    def write(self, batches):
        pass
"""
CLASS = """
class {type}Config({base}Config, frozen=True, kw_only=True):
    {option}

class {type}(Plain{base}):
    config_type = {type}Config
    {member}
"""
NOT_OF_ITS_KIND = {
    "Source name: int = -5": "name: expected text, got -5",
    "Source labels: str = 'abc'": "labels: expected a mapping of names to texts, got text",
    "Source tick_time: str = 'abc'": "tickTime: expected a number above 0, got text",
    "Source tick_time: float = -5.0": "tickTime: expected a number above 0, got -5",
    "Source enabled: str = 'abc'": "enabled: expected true or false, got text",
    "Source drop_labels: str = 'abc'": "dropLabels: expected a list of texts, got text",
    "Source rename_labels: Any = None": "renameLabels: expected a mapping of names to texts",
    "Source fleet: str = 'abc'": "fleet: expected true or false, got text",
    "Writer self_metrics: str = 'abc'": "selfMetrics: expected true or false, got text",
    "Writer buffer: str = 'abc'": "buffer: expected a mapping, got text",
    "Writer spool: str = 'abc'": "spool: expected true or false, got text",
}
FINE = [
    "Source timeout: str = 'abc'",
    "Source timeout: bool = True",
    "Source metrics: int = 5",
    "Source max_series: str = 'abc'",
    "Source details: str = 'abc'",
    "Source tick_time: int = 60",
    "Source name: str = 'cellar'",
    "Source expected_metrics = boom",
    "Source dynamic_metrics = None",
    "Writer notifies = True",
    "Writer notifies = property(boom)",
    "Writer notifies = True; rules: int = 5",
    "Writer notifies = True; rules: str = 'my words'",
    "Writer notifies = True; rules: tuple[int, ...] = (1,)",
    "Writer in_process = property(boom)",
    "Writer batch_size = 'text'",
]
MADE_WRONG = {
    "Source __init__ = setting('metrics', 'text')": "expected Metrics as metrics, got 'text'",
    "Source __init__ = setting('config_warnings', 'text')": "expected ConfigErrors, got 't'",
    "Source __init__ = setting('config_warnings', None)": "fails to start: TypeError",
    "Source __init__ = setting('config', {})": "self.config is pollect's",
    "Source __init__ = setting('context', None)": "self.context is pollect's",
    "Writer __init__ = setting('log', print)": "its constructor sets self.log",
    "Writer target_identity = boom; spool: bool = True": "fails to start: ValueError: boom",
}
CANNOT_NOTIFY = {
    "Writer send_test = boom": "the test failed: ValueError: boom",
    "Writer send_test = lambda self: None": "the test failed: TypeError",
}
WORDS = [*NOT_OF_ITS_KIND, *FINE, *MADE_WRONG, *CANNOT_NOTIFY]
COMMANDS = ("check", "rules", "rules --test", "dashboard", "notify --test")
#: Runs every command on every config in one process, and prints what each said.
RUN = """
import contextlib, io, json, sys
from pollect.cli.process import call
said = {}
for file in sys.argv[2:]:
    for command in json.loads(sys.argv[1]):
        text = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(text):
            code = call([*command.split(), file])
        said[f"{file} {command}"] = code, text.getvalue()
print(json.dumps(said))
"""


def class_of(words: str, type_name: str) -> str:
    """Return the class that `words` describe: its base, then a member or an option or both."""
    base, _, rest = words.partition(" ")
    parts = dict.fromkeys(("option", "member"), "pass")
    for part in rest.split("; "):
        name, _, kind = part.partition(": ")
        if name.isidentifier():
            kind, _, default = kind.partition(" = ")
            parts["option"] = f"{name}: Annotated[{kind}, Meta(description='x.')] = {default}"
        else:
            parts["member"] = part
    return CLASS.format(type=type_name, base=base, **parts)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    folder = tmp_path_factory.mktemp("odd")
    text, files = HEAD, []
    for number, words in enumerate(WORDS):
        base = words.partition(" ")[0]
        type_name = f"{base}_{number}"
        text += class_of(words, type_name)
        source = type_name if base == "Source" else "Dummy"
        writer = type_name if base == "Writer" else "InMemory"
        files.append(f"{number}.yml")
        (folder / files[-1]).write_text(
            f"writers: [{{type: {writer}}}]\n"
            f"executors: [{{collection: c, tickTime: 9, sources: [{{type: {source}}}]}}]\n"
        )
    write_distribution(folder, "pollect-odd", modules={"odd.py": text}, plugin="odd")
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(COMMANDS), *files],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


def of(said: dict[str, tuple[int, str]], words: str, command: str) -> tuple[int, str]:
    return said[f"{WORDS.index(words)}.yml {command}"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", WORDS)
def test_no_command_has_an_internal_error(said, words: str, command: str) -> None:
    assert "internal error" not in of(said, words, command)[1]


@pytest.mark.parametrize("words", NOT_OF_ITS_KIND)
def test_a_common_option_that_a_class_declares_differently_is_refused(said, words: str) -> None:
    code, text = of(said, words, "check")
    assert code == 2
    assert NOT_OF_ITS_KIND[words] in text
    assert "Config declares it differently from other sections" in text


@pytest.mark.parametrize("words", FINE)
def test_what_a_class_is_free_to_do_is_no_mistake(said, words: str) -> None:
    assert of(said, words, "check")[0] == 0, of(said, words, "check")[1]
    assert of(said, words, "rules")[0] == 0


@pytest.mark.parametrize("words", MADE_WRONG)
def test_an_object_that_lacks_what_is_read_later_is_refused(said, words: str) -> None:
    code, text = of(said, words, "check")
    assert code == 3
    assert MADE_WRONG[words] in text


@pytest.mark.parametrize("words", CANNOT_NOTIFY)
def test_a_test_message_that_fails_costs_only_itself(said, words: str) -> None:
    code, text = of(said, words, "notify --test")
    assert (code, CANNOT_NOTIFY[words] in text) == (1, True), text
