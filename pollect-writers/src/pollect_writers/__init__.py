"""Writers: where samples go."""

__version__ = "2.0.0"
