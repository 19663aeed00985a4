"""The writers of this distribution, one a line."""

from typing import TYPE_CHECKING

from pollect.api import WriterSpec, hookimpl

if TYPE_CHECKING:
    import click

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
        WriterSpec(
            "PrometheusSsl",
            f"{PACKAGE}.prometheus.writer:PrometheusSslWriter",
            summary="The same over TLS",
        ),
    ]


@hookimpl
def pollect_commands() -> list["click.Command"]:
    """Return the commands that belong to writers."""
    from pollect_writers.commands import hash_password

    return [hash_password]
