"""What the OpenMetrics encoder of prometheus-client gives: headers and the content type."""

from collections.abc import Iterable
from typing import NamedTuple

from pollect_writers.prometheus.client_library import (
    CONTENT_TYPE_LATEST as CONTENT_TYPE,
)
from pollect_writers.prometheus.client_library import Metric, generate_latest

__all__ = ["CONTENT_TYPE", "encode_header"]

_END = b"\n# EOF\n"


class _Collected(NamedTuple):
    """What the encoder takes in place of a registry."""

    family: Metric

    def collect(self) -> Iterable[Metric]:
        return (self.family,)


def encode_header(name: str, help: str, type_name: str, unit: str) -> bytes:
    """Return the lines `# HELP`, `# TYPE` and, if the name ends in the unit, `# UNIT`."""
    # The library would append a unit that the name does not end in, and names never change.
    unit = unit if name.endswith(f"_{unit}") else ""
    family = Metric(name, help.encode("utf-8", "replace").decode(), type_name, unit)
    # The library says nothing of its types here.
    encoded: bytes = generate_latest(_Collected(family))  # type: ignore[no-untyped-call]
    return encoded.removesuffix(_END)
