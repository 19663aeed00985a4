"""What all commands share: how much to log, and where to look for what a config names.

A daemon that runs has a session too, and no use for click: its functions import it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pollect.daemon.log import FORMATS, LEVELS, set_up_logging

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The config when none is named; a suffix is found by itself.
DEFAULT_CONFIG = "config"


class Session:
    """The settings of one call of the program; made before anything is imported for it."""

    def __init__(self) -> None:
        self.level: str | None = None
        self.log_format = "text"
        self.debug = False

    def start_daemon_log(self) -> None:
        """Log to standard error, life cycle included."""
        set_up_logging(self._level("info"), style=self.log_format)

    def start_command_log(self) -> None:
        """Log to standard error what an operator must know."""
        set_up_logging(self._level("warning"), style=self.log_format)

    def _level(self, default: str) -> str:
        return "debug" if self.debug else self.level or default


def log_options(command: _Command) -> _Command:
    """Add `--debug`, `--log-level` and `--log-format`; they end in the session."""
    import click

    for option in (
        click.option(
            "--log-format",
            type=click.Choice(FORMATS),
            expose_value=False,
            callback=_remember("log_format"),
            help="Log lines for people or for programs.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(LEVELS, case_sensitive=False),
            expose_value=False,
            callback=_remember("level"),
            help="Log only what is at least this important.",
        ),
        click.option(
            "-d",
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_remember("debug"),
            help="Log everything, and show tracebacks.",
        ),
    ):
        command = option(command)
    return command


def config_option(command: _Command) -> _Command:
    """Add `-c FILE`."""
    import click

    return click.option(
        "-c",
        "--config",
        "config_name",
        default=DEFAULT_CONFIG,
        show_default=True,
        metavar="FILE",
        help="Config file; without a suffix .yml, .yaml and .json are tried.",
        shell_complete=complete_files,
    )(command)


def complete_files(
    context: "click.Context", parameter: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Let the shell offer file names."""
    # Imported when a shell asks: no command needs it to run.
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def config_argument(command: _Command) -> _Command:
    """Add `[FILE]`, a config."""
    import click

    return click.argument(
        "config_name", metavar="[FILE]", default=DEFAULT_CONFIG, shell_complete=complete_files
    )(command)


def _remember(name: str) -> "Callable[[click.Context, click.Parameter, Any], None]":
    def remember(context: "click.Context", parameter: "click.Parameter", value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return remember
