"""Libraries that only some writers need."""

from pollect.api import MissingDependency


def missing_library(library: str, requirement: str) -> MissingDependency:
    """Return the error for a library of an extra that is not installed."""
    return MissingDependency(
        f"{library} is not installed; install {requirement!r}", requirement=requirement
    )
