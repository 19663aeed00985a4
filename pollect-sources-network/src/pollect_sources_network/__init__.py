"""Sources for the network and the devices in it."""

__version__ = "2.0.0"
