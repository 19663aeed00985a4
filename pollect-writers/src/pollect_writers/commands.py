"""Commands that belong to writers."""

import click


@click.command("hash-password")
@click.password_option(help="The password; asked for when not given.")
def hash_password(password: str) -> None:
    """Print the hash of a password, for `auth.users` of a Prometheus writer."""
    from pollect_writers.prometheus.auth import PasswordHash

    click.echo(str(PasswordHash.of(password)))
