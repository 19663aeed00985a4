"""Recordings of real services; see the README of that folder."""

from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


def recording(name: str) -> bytes:
    """Return the content of a recording; skips the test where it is absent."""
    file = RECORDINGS / name
    if not file.exists():
        pytest.skip(f"the recording {name} is not beside this repository")
    return file.read_bytes()
