"""Build sources and writers as the daemon does, without a config file or an engine."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pollect.config.sections import convert_section
from pollect.model import SourceId
from pollect.plugin import Clock, Roots, Source, SourceContext, Writer, WriterContext
from pollect.testing.clock import FakeClock


def build_source(
    section: Mapping[str, Any],
    source_type: type[Source[Any]],
    *,
    collection: str = "pollect",
    interval: float = 10.0,
    clock: Clock | None = None,
    roots: Roots | None = None,
    config_dir: Path | None = None,
    state_dir: Path | None = None,
) -> Source[Any]:
    """Return a source made from its section of a config; not opened yet.

    Time stands still (`FakeClock`) unless a `clock` is given.
    """
    section = {"type": source_type.__name__.removesuffix("Source"), **section}
    config = convert_section(source_type.config_type, section)
    context = SourceContext(
        id=SourceId(collection, config.type, config.name),
        interval=interval,
        clock=clock or FakeClock(),
        config_dir=config_dir or Path.cwd(),
        state_dir=state_dir or Path(tempfile.gettempdir()),
        roots=roots or Roots(),
    )
    return source_type(config, context)


def build_writer(
    section: Mapping[str, Any],
    writer_type: type[Writer[Any]],
    *,
    clock: Clock | None = None,
    config_dir: Path | None = None,
    state_dir: Path | None = None,
) -> Writer[Any]:
    """Return a writer made from its section of a config; not opened yet."""
    section = {"type": writer_type.__name__.removesuffix("Writer"), **section}
    config = convert_section(writer_type.config_type, section)
    context = WriterContext(
        name=config.type,
        clock=clock or FakeClock(),
        config_dir=config_dir or Path.cwd(),
        state_dir=state_dir or Path(tempfile.gettempdir()),
    )
    return writer_type(config, context)
