"""A plugin module that is installed: where it is, and why it cannot be used if it cannot.

Plain data, so that one process can look for plugins and another use them.
"""

import functools
import importlib

import msgspec

#: The distribution that this module is part of.
CORE = "pollect-core"


class Found(msgspec.Struct, frozen=True):
    """An entry point of `pollect.plugins`, looked at."""

    #: Of the entry point, unique within its distribution.
    name: str
    #: As the entry point has it, `module` or `module:attribute`.
    value: str
    module: str
    #: Empty if the module itself is the plugin.
    attribute: str
    distribution: str
    #: Empty if nobody knows.
    version: str
    #: What is wrong with it, in words; empty if it could be loaded.
    failure: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, for people."""
        return f"{self.distribution} {self.version}".rstrip()

    def load(self) -> object:
        """Import the module and return the plugin; code of somebody else may raise anything."""
        module = importlib.import_module(self.module)
        return functools.reduce(getattr, filter(None, self.attribute.split(".")), module)

    def explain(self, error: BaseException) -> str:
        """Say what an error at loading means."""
        if self._is_absent(error):
            return "is named by its entry point and is not there"
        return f"fails at import: {describe(error)}"

    def _is_absent(self, error: BaseException) -> bool:
        """Whether the entry point leads nowhere, rather than to something that fails by itself."""
        if isinstance(error, ModuleNotFoundError):
            missing = error.name or ""
            return self.module == missing or self.module.startswith(f"{missing}.")
        return bool(self.attribute) and isinstance(error, AttributeError)


def describe(error: BaseException) -> str:
    """Return an error of foreign code in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
