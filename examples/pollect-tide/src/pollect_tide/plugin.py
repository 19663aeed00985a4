"""What this distribution offers; an entry point in pyproject.toml names this module."""

from pollect.api import SourceSpec, hookimpl

#: Of the plugin API that this is written for.
api = 2


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return the sources; their modules are imported only when a config names them."""
    return [
        SourceSpec("Tide", "pollect_tide.tide:TideSource", summary="Level of one gauge"),
    ]
