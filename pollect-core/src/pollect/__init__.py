"""pollect: a metrics daemon in which a plugin is a pip package."""

__version__ = "2.0.0"
