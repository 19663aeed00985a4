"""A type lookup with a source and a writer made for these tests."""

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from pollect.api import (
    ConfigError,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    Writer,
    WriterConfig,
)
from pollect.errors import MissingDependency, PluginLoadError, UnknownPlugin

_Plugin = TypeVar("_Plugin")


class GaugeConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host, with port if not 80.")]
    port: Annotated[Annotated[int, Meta(ge=1, le=65535)], Meta(description="TCP port.")] = 80
    user: Annotated[str, Meta(description="Login name.")] = ""
    password: Annotated[Secret | None, Meta(description="Password.")] = None
    lines: Annotated[tuple[str, ...], Meta(description="OIDs, `${label}` stands for itself.")] = ()
    label: Annotated[str, Meta(description="The placeholder in `lines`.")] = ""

    @classmethod
    def placeholders(cls, section: Mapping[str, Any]) -> Collection[str]:
        return {section["label"]}

    def __post_init__(self) -> None:
        if self.user and not self.password:
            raise ConfigError("a user needs a password", key="user")


class GaugeSource(Source[GaugeConfig]):
    """A gauge."""

    config_type = GaugeConfig

    def __init__(self, config: GaugeConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if config.host.startswith("http"):
            raise ConfigError("expected a host, got a URL", key="host")


class ListenConfig(WriterConfig, frozen=True, kw_only=True):
    port: Annotated[Annotated[int, Meta(ge=0, le=65535)], Meta(description="TCP port.")] = 8080
    token: Annotated[Secret | None, Meta(description="Token of the clients.")] = None


class ListenWriter(Writer[ListenConfig]):
    """A listener."""

    config_type = ListenConfig


class Types:
    """What the registry is to a config; `Broken` and `Absent` are types that cannot be used."""

    def source_type(self, type_name: str) -> type[Source[Any]]:
        return _find(type_name, "source", {"Gauge": GaugeSource})

    def writer_type(self, type_name: str) -> type[Writer[Any]]:
        return _find(type_name, "writer", {"Listen": ListenWriter})


def _find(type_name: str, kind: str, known: Mapping[str, type[_Plugin]]) -> type[_Plugin]:
    if type_name == "Broken":
        raise PluginLoadError("Broken: cannot load broken:BrokenSource: ImportError: no")
    if type_name == "Absent":
        raise MissingDependency(
            "source type 'Absent' needs pollect-sources-network[snmp]",
            requirement="pollect-sources-network[snmp]",
        )
    if type_name not in known:
        similar = difflib.get_close_matches(type_name, known)
        hint = f"did you mean {similar[0]!r}?" if similar else ""
        raise UnknownPlugin(type_name, kind, hint)
    return known[type_name]
