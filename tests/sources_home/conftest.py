"""Recordings of real devices, for all sources of the family."""

from collections.abc import Callable
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


@pytest.fixture
def recording() -> Callable[[str], bytes]:
    """Give a function that reads a recording, and skips the test where there are none."""

    def read(name: str) -> bytes:
        file = RECORDINGS / name
        if not file.exists():
            pytest.skip(f"no recording at {file}")
        return file.read_bytes()

    return read
