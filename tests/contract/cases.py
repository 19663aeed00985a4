"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pollect.testing import SourceCase, WriterCase, serve_http


@contextmanager
def web_page() -> Iterator[Mapping[str, Any]]:
    with serve_http({"*": "hello"}) as server:
        yield {"url": server.url}


A_FAILURE_IS_A_VALUE = "reports `success` 0 instead"

SOURCES = [
    SourceCase(section={"type": "Dummy", "value": 1, "count": 2}),
    SourceCase(section={"type": "DiskUsage"}),
    SourceCase(section={"type": "Interface"}),
    SourceCase(section={"type": "IO"}),
    SourceCase(section={"type": "LoadAvg"}),
    SourceCase(section={"type": "MemoryUsage"}),
    SourceCase(section={"type": "Process", "procRegex": f"python.*pytest|{os.getpid()}"}),
    SourceCase(
        section={"type": "Http", "url": "http://localhost", "timeout": 1},
        target=web_page,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
        exempt={
            "target_absent": A_FAILURE_IS_A_VALUE,
            "target_silent": A_FAILURE_IS_A_VALUE,
            "target_talks_rubbish": "any page will do",
        },
    ),
]

WRITERS = [
    WriterCase(section={"type": "DryRun"}),
    WriterCase(section={"type": "InMemory"}),
    WriterCase(section={"type": "ParallelInMemory"}),
    WriterCase(section={"type": "Prometheus", "bind": "127.0.0.1", "port": 0}),
]
