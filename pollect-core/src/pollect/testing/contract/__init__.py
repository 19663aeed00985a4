"""The contract: what every source and writer promises, as functions that check it.

    CASE = SourceCase(source_type=TideSource, section={"host": "127.0.0.1"}, ...)

    def test_tide_keeps_the_contract(source_promise):
        source_promise(CASE)

The pytest plugin of `pollect-core` runs such a test once for each promise. Without pytest, call the
functions in `SOURCE_PROMISES` and `WRITER_PROMISES`: a broken promise raises `AssertionError`, one
that does not apply raises `unittest.SkipTest` with the reason.
"""

from pollect.testing.contract.sources import SOURCE_PROMISES, SourceCase
from pollect.testing.contract.writers import WRITER_PROMISES, WriterCase

__all__ = ["SOURCE_PROMISES", "WRITER_PROMISES", "SourceCase", "WriterCase"]
