"""The version of pollect, which all its distributions share."""

__version__ = "2.0.0"
