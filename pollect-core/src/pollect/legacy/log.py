"""`Log` and `ColorFormatter` of pollect 1.x; the command line sets logging up now."""

import logging

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Log:
    """Gives `self.log`, named like the class unless there is a better name."""

    log_level = logging.INFO

    def __init__(self, name: str | None = None) -> None:
        self.log = logging.getLogger(name or type(self).__name__)

    @classmethod
    def set_level(cls, log_level: str) -> None:
        """Log from this level on, one of debug, info, warning, error; other words mean info."""
        Log.log_level = _LEVELS.get(log_level.lower(), logging.INFO)
        logging.getLogger().setLevel(Log.log_level)

    @classmethod
    def setup(cls) -> None:
        """Log to the terminal, for a script that runs without the daemon."""
        logging.basicConfig(level=Log.log_level, format=ColorFormatter.LINE)


class ColorFormatter(logging.Formatter):
    """Formats as pollect 1.x did, without its colours."""

    LINE = "%(levelname)-.1s %(asctime)-.19s [%(name)s] %(message)s"

    def __init__(self) -> None:
        super().__init__(self.LINE)
