"""The core's own plugin: sources and writers for trying out and for tests."""

from pollect.api import SourceSpec, WriterSpec, hookimpl


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return the sources of the core."""
    return [
        SourceSpec(
            "Dummy", "pollect.builtin.dummy:DummySource", summary="Values from the config itself"
        ),
    ]


@hookimpl
def pollect_writers() -> list[WriterSpec]:
    """Return the writers of the core."""
    return [
        WriterSpec(
            "DryRun", "pollect.builtin.dry_run:DryRunWriter", summary="Prints instead of writing"
        ),
        WriterSpec(
            "InMemory",
            "pollect.builtin.in_memory:InMemoryWriter",
            summary="Keeps what a whole tick wrote, for tests",
        ),
        WriterSpec(
            "ParallelInMemory",
            "pollect.builtin.in_memory:ParallelInMemoryWriter",
            summary="Keeps what each source wrote, for tests",
        ),
    ]
