"""Reading a config in a process of its own gives what reading it here gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pollect.config.document import Document
from pollect.config.reading import read_document

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads apart on Linux only")

TEXT = """\
tickTime: 2.50
include: more.yml
1: [yes, 0x10, .inf, ~, "é ${NAME}", 2001-01-01]
null: {true: {nested: [{}, []]}}
executors:
  - &one
    collection: house
    sources: [{type: Dummy, value: 010}]
  - {<<: *one, collection: garden}
"""
MORE = "executors: [{collection: house, sources: [{type: LoadAvg}]}]"
#: Other threads of this process would keep it from forking.
READ = """
import sys
from pollect.config.apart import ConfigReading
from pollect.forked import Forked
with Forked(reading := ConfigReading(sys.argv[1])):
    document = reading.result()
assert "yaml" not in sys.modules
from tests.core.config.test_apart import parts_of
print(ascii(document and parts_of(document)))
"""


def parts_of(document: Document) -> tuple[object, ...]:
    return (
        document.file,
        document.data,
        dict(document.places),
        dict(document.texts),
        list(document.included),
    )


def read_apart(name: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ, str(name)],
        capture_output=True,
        check=True,
        text=True,
        timeout=150,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_document_comes_over_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(TEXT, "utf-8")
    (tmp_path / "more.yml").write_text(MORE)
    document = read_document(tmp_path / "config.yml")
    assert document.included
    assert not document.problems
    assert read_apart(tmp_path / "config") == ascii(parts_of(document))


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\na: 2",
        "include: absent.yml",
        # More than the format between the processes can hold.
        "a: 123456789012345678901234567890",
    ],
)
def test_config_with_a_mistake_is_left_to_the_caller(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yml").write_text(text)
    assert read_apart(tmp_path / "config.yml") == "None"


def test_absent_config_is_left_to_the_caller(tmp_path: Path) -> None:
    assert read_apart(tmp_path / "config.yml") == "None"


def test_pipe_is_left_to_the_caller_and_keeps_its_content(tmp_path: Path) -> None:
    pipe = tmp_path / "config.yml"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)
    try:
        os.write(descriptor, b"a: 1")
        assert read_apart(pipe) == "None"
        assert os.read(descriptor, 100) == b"a: 1"
    finally:
        os.close(descriptor)
