"""For authors' tests: contract suite, fake clock, simulators, golden expositions."""

from pollect.testing.build import build_source, build_writer
from pollect.testing.clock import FakeClock

__all__ = ["FakeClock", "build_source", "build_writer"]
