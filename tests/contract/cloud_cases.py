"""How to put each cloud source to the contract; see `cases`."""

from pollect.testing import SourceCase

CLOUD_SOURCES: list[SourceCase] = []
