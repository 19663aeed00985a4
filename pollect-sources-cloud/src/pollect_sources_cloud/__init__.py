"""Sources for cloud accounts."""

__version__ = "2.0.0"
