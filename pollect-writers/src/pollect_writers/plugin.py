"""The writers of this distribution, one a line."""

from pollect.api import WriterSpec, hookimpl

PACKAGE = "pollect_writers"


@hookimpl
def pollect_writers() -> list[WriterSpec]:
    """Return every writer of this distribution."""
    return [
        WriterSpec(
            "Prometheus",
            f"{PACKAGE}.prometheus.writer:PrometheusWriter",
            summary="An HTTP endpoint that Prometheus scrapes",
        ),
    ]
