"""`pollect run`: collects until it is stopped."""

import click

from pollect.cli.session import Session, config_file, log_options
from pollect.cli.start import run_daemon


@click.command()
@config_file
@click.option("-r", "--dry-run", is_flag=True, help="Print what the writers would write.")
@click.option("--once", is_flag=True, help="Probe every source once, write, and leave.")
@click.option("--strict", is_flag=True, help="Refuse a config with unknown options.")
@log_options
@click.pass_obj
def run(session: Session, config_name: str, dry_run: bool, once: bool, strict: bool) -> int:
    """Collect until stopped.

    SIGTERM and Ctrl-C stop in order, a second one at once. SIGHUP reads the config again and
    restarts only what changed; a config with mistakes changes nothing.
    """
    return run_daemon(config_name, session, dry_run=dry_run, once=once, strict=strict)
