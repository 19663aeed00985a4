"""A dry run: every writer of a config is replaced by one that prints.

Writer sections are taken as they are and not looked at, so that a config can be tried out where its
writers are not installed.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from pollect.builtin.dry_run import DryRunConfig, DryRunWriter
from pollect.discovery.registry import Registry
from pollect.plugin import Source, Writer


class StandInConfig(DryRunConfig, frozen=True, kw_only=True):
    keep_unknown: ClassVar[bool] = True

    options: Annotated[
        Mapping[str, Any], Meta(description="The options of the writer that is replaced.")
    ] = field(default_factory=dict)


class StandInWriter(DryRunWriter):
    """Prints what the writer named by its context would write."""

    config_type = StandInConfig


class DryRunTypes:
    """Looks sources up as usual and takes every word for a writer that prints."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def source_type(self, type_name: str) -> type[Source[Any]]:
        return self._registry.source_type(type_name)

    def writer_type(self, type_name: str) -> type[Writer[Any]]:
        return StandInWriter
