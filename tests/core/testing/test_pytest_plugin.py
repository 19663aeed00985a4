"""The pytest plugin as an author's tests use it, in a run of its own."""

import subprocess
import sys
from pathlib import Path

AUTHORS_TEST = """
import shutil
import urllib.request

import pytest

from pollect.builtin.dummy import DummySource
from pollect.builtin.in_memory import InMemoryWriter
from pollect.testing import SourceCase, WriterCase, serve_http


def test_source(source_promise):
    source_promise(SourceCase(source_type=DummySource, section={"value": 1}))


def test_writer(writer_promise):
    writer_promise(WriterCase(writer_type=InMemoryWriter, section={}))


def test_clock(fake_clock):
    before = fake_clock.monotonic()
    fake_clock.advance(5)
    assert fake_clock.monotonic() == before + 5


def test_golden(golden):
    golden("rain.txt", "rain 1\\n")


def test_tls(certificate_authority):
    tls = certificate_authority.issue().server_context()
    with serve_http({"/": "safe"}, tls=tls) as server:
        context = certificate_authority.client_context()
        with urllib.request.urlopen(server.url, context=context) as answer:
            assert answer.read() == b"safe"
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_fixtures_and_golden_files(tmp_path) -> None:
    (tmp_path / "test_mine.py").write_text(AUTHORS_TEST)
    assert run_pytest(tmp_path, "-k", "golden", "--renew-golden").returncode == 0
    assert (tmp_path / "golden" / "rain.txt").read_text() == "rain 1\n"

    done = run_pytest(tmp_path, "-vv")
    assert done.returncode == 0, done.stdout
    assert "test_source[samples_are_declared] PASSED" in done.stdout
    assert "test_writer[odd_batches_are_written] PASSED" in done.stdout
    assert "test_golden PASSED" in done.stdout
