"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

from pollect.testing import SourceCase, WriterCase

SOURCES = [
    SourceCase(section={"type": "Dummy", "value": 1, "count": 2}),
]

WRITERS = [
    WriterCase(section={"type": "DryRun"}),
    WriterCase(section={"type": "InMemory"}),
    WriterCase(section={"type": "ParallelInMemory"}),
]
