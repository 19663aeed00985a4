"""Commands that belong to writers."""

import sys

import click


@click.command("hash-password")
@click.option("--password", help="The password; asked for, or read from a pipe, when not given.")
def hash_password(password: str | None) -> None:
    """Print the hash of a password for the endpoint.

    It goes into `auth.users` of a Prometheus writer.
    """
    from pollect_writers.prometheus.auth import PasswordHash

    if password is None:
        password = _ask() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.UsageError("expected a password, got an empty line")
    click.echo(str(PasswordHash.of(password)))


def _ask() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
