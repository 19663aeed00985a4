"""How to put each home source to the contract; see `cases`."""

from pollect.testing import SourceCase

HOME_SOURCES: list[SourceCase] = []
