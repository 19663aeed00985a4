"""Sources for the devices of a home."""

__version__ = "2.0.0"
