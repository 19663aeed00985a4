"""The sources of this distribution, one a line."""

from pollect.api import SourceSpec, hookimpl

PACKAGE = "pollect_sources_home"


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return []
