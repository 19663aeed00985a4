"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

from pollect.builtin.dry_run import DryRunWriter
from pollect.builtin.dummy import DummySource
from pollect.builtin.in_memory import InMemoryWriter, ParallelInMemoryWriter
from pollect.testing import SourceCase, WriterCase

SOURCES: dict[str, SourceCase] = {
    "Dummy": SourceCase(source_type=DummySource, section={"value": 1, "count": 2}),
}

WRITERS: dict[str, WriterCase] = {
    "DryRun": WriterCase(writer_type=DryRunWriter, section={}),
    "InMemory": WriterCase(writer_type=InMemoryWriter, section={}),
    "ParallelInMemory": WriterCase(writer_type=ParallelInMemoryWriter, section={}),
}
