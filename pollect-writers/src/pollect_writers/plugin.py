"""The writers of this distribution, one a line."""

from pollect.api import WriterSpec, hookimpl


@hookimpl
def pollect_writers() -> list[WriterSpec]:
    """Return every writer of this distribution."""
    return []
