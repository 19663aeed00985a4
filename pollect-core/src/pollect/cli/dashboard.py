"""`pollect dashboard`: a dashboard for Grafana, from a config."""

import json

import click

from pollect.cli.rules import load_plan
from pollect.cli.session import Session, config_file, log_options


@click.command()
@config_file
@click.option("--title", default="", help="Title of the dashboard; default: the collections.")
@log_options
@click.pass_obj
def dashboard(session: Session, config_name: str, title: str) -> None:
    """Print a dashboard to import in Grafana.

    Made from the config and from what its sources declare; no device is asked. A new import
    replaces the one before.
    """
    from pollect.derived.dashboard import dashboard_of

    session.start_command_log()
    found = dashboard_of(load_plan(config_name), title)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
