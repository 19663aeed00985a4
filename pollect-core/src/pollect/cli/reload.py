"""`pollect reload`: lets a running daemon read its config, and says what came of it."""

import sys

import click
import msgspec

from pollect.cli.running import daemon_file, folder_of
from pollect.cli.session import Session, log_options
from pollect.daemon.control import ask
from pollect.model import Reload
from pollect.text import visible_text


@click.command()
@daemon_file
@log_options
@click.pass_obj
def reload(session: Session, config_name: str | None) -> int:
    """Make a running pollect read its config again; print what changed, or why nothing did.

    Only what changed is restarted. With mistakes in the config the old one goes on, and the exit
    code is 2.
    """
    session.start_command_log()
    outcome = msgspec.convert(ask(folder_of(config_name), "reload"), Reload)
    if not outcome.successful:
        print(visible_text(outcome.error), file=sys.stderr)
        print("the config was not reloaded, the old one goes on", file=sys.stderr)
        return 2
    print(visible_text("\n".join(outcome.changes)) or "nothing changed")
    return 0
