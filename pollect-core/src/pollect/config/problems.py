"""The mistakes of one config, collected so that all of them can be reported at once."""

from collections.abc import Iterable

from pollect.config.document import NOWHERE, Document
from pollect.errors import ConfigError


class Problems:
    """Errors and warnings, each with its place in the document."""

    def __init__(self, document: Document = NOWHERE) -> None:
        self._document = document
        self.errors: list[ConfigError] = []
        #: What `check` and `--strict` refuse and `run` only mentions.
        self.warnings: list[ConfigError] = []

    def located(self, path: str, error: ConfigError) -> ConfigError:
        """Return a mistake in the part at `path` with its place in the file."""
        return self._document.located(error, path)

    def refuse(self, path: str, error: ConfigError) -> None:
        """Add an error in the part at `path`; its `key` is relative to that part."""
        self.errors.append(self._document.located(error, path))

    def warn(self, path: str, error: ConfigError) -> None:
        """Add a warning, as `refuse` adds an error."""
        self.warnings.append(self._document.located(error, path))

    def all(self) -> list[ConfigError]:
        """Return errors and warnings in the order of the file."""
        return self.sort(self.errors + self.warnings)

    def sort(self, problems: Iterable[ConfigError]) -> list[ConfigError]:
        """Return mistakes in the order of the file."""
        return sorted(problems, key=self._document.order_of)
