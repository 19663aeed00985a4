"""What a plugin is made of: sources, writers, their configs and contexts, and their specs.

A source reads one thing at an interval; a writer hands samples on. Both get a typed config and a
context, validate in `__init__` without any I/O, connect in `open()`, and let go in `close()`.
"""

from pollect.plugin.config import (
    MAX_SERIES,
    MEANS,
    BufferConfig,
    FilePath,
    Host,
    MetricFilter,
    Name,
    Seconds,
    Secret,
    SourceConfig,
    WriterConfig,
    is_default,
)
from pollect.plugin.context import (
    Clock,
    ProbeAnswer,
    ProbesOnDemand,
    Roots,
    SourceContext,
    TargetGroup,
    WriterContext,
)
from pollect.plugin.sign_in import AuthorizationCode, SignIn
from pollect.plugin.source import ProbeValue, Source, SourceConfigT
from pollect.plugin.spec import SourceSpec, Suggestion, WriterSpec
from pollect.plugin.writer import Writer, WriterConfigT

__all__ = [
    "MAX_SERIES",
    "MEANS",
    "AuthorizationCode",
    "BufferConfig",
    "Clock",
    "FilePath",
    "Host",
    "MetricFilter",
    "Name",
    "ProbeAnswer",
    "ProbeValue",
    "ProbesOnDemand",
    "Roots",
    "Seconds",
    "Secret",
    "SignIn",
    "Source",
    "SourceConfig",
    "SourceConfigT",
    "SourceContext",
    "SourceSpec",
    "Suggestion",
    "TargetGroup",
    "Writer",
    "WriterConfig",
    "WriterConfigT",
    "WriterContext",
    "WriterSpec",
    "is_default",
]
