"""What can be known of a type without importing it, and what `pollect init` suggests."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec

from pollect.errors import PluginLoadError, describe
from pollect.needs import Needs
from pollect.plugin.source import Source
from pollect.plugin.writer import Writer


class Suggestion(msgspec.Struct, frozen=True):
    """A section of a config that suits this host, for `pollect init` to write."""

    kind: Literal["source", "writer"]
    #: As in a config, `type` included.
    section: Mapping[str, Any]
    #: What it shows and which option is worth a look, in a sentence or two for newcomers.
    comment: str
    #: Why it should not run as it is: a missing privilege, a decision that is the operator's. Such
    #: a section is written as a comment. What is not installed need not be mentioned here.
    caveat: str = ""


#: Inside a spec the word `type` is a field.
_Class: TypeAlias = type[Any]


class _Spec(msgspec.Struct, frozen=True):
    #: The word a config uses.
    type: str
    #: Where the class is, `module:Class`; imported only when a config names the type.
    target: str
    #: One line for lists.
    summary: str = ""
    #: Further words for the same type.
    aliases: tuple[str, ...] = ()
    #: The extra of the plugin's distribution that the type needs.
    extra: str = ""
    #: Values of `sys.platform` it works on; empty for all.
    platforms: tuple[str, ...] = ()
    #: What it needs of the machine; the default is the network and nothing else.
    needs: Needs = Needs()

    kind: ClassVar[str]
    _base: ClassVar[_Class]

    @classmethod
    def of(cls, plugin: _Class) -> Self:
        """Describe a class: the type is its name without `Source` or `Writer`."""
        return cls(
            type=plugin.__name__.removesuffix(cls._base.__name__),
            target=f"{plugin.__module__}:{plugin.__qualname__}",
            summary=(plugin.__doc__ or "").strip().partition("\n")[0],
        )

    def _load(self) -> _Class:
        module_name, _, class_name = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may raise anything at import
            raise PluginLoadError(
                f"{self.type}: cannot load {self.target}: {describe(error)}"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise PluginLoadError(
                f"{self.type}: {self.target} is not a class derived from {self._base.__name__}"
            )
        return found


class SourceSpec(_Spec, frozen=True):
    """What can be known of a source without importing it."""

    #: In a fleet one daemon probes it; false for what every host has of its own.
    fleet: bool = True
    #: In a fleet it must never be probed twice at once: its device or account has one session.
    exclusive: bool = False

    kind: ClassVar[str] = "source"
    _base: ClassVar[_Class] = Source

    def load(self) -> type[Source[Any]]:
        """Import and return the class; raises `PluginLoadError`."""
        return self._load()


class WriterSpec(_Spec, frozen=True):
    """What can be known of a writer without importing it."""

    kind: ClassVar[str] = "writer"
    _base: ClassVar[_Class] = Writer

    def load(self) -> type[Writer[Any]]:
        """Import and return the class; raises `PluginLoadError`."""
        return self._load()
