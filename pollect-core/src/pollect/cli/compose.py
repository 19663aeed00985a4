"""`pollect compose`: a compose file for exactly one config."""

import sys

import click

from pollect.cli import exit_codes
from pollect.cli.session import Session, config_file, log_options
from pollect.config.reading import find_config
from pollect.operate.compose import write_compose
from pollect.operate.survey import survey
from pollect.version import __version__


@click.command()
@config_file
@click.option(
    "--image", default="localhost/pollect", show_default=True, help="Image to run; `make image`."
)
@log_options
@click.pass_obj
def compose(session: Session, config_name: str, image: str) -> int:
    """Print a compose file with what the sources of a config need, and no more.

    Mounts, groups, devices, capabilities, ports, kernel settings and secrets. Run it on the host
    that will run the container: which devices it has decides on what the container gets.
    """
    session.start_command_log()
    found = survey(find_config(config_name))
    text, notes = write_compose(found, image=image, version=__version__)
    for named, error in found.unusable:
        print(f"{named.path}: {error}", file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(text, end="")
    return exit_codes.MISSING if found.unusable else 0
