"""Sources for the host that pollect runs on."""

__version__ = "2.0.0"
