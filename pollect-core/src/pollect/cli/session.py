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
#: Where a context keeps the config of `-c` until the argument is looked at.
_NAMED_BY_OPTION = "pollect.config"


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


def config_file(command: _Command) -> _Command:
    """Add `[FILE]` and `-c FILE`: either names the config."""
    text = "Config file; without a suffix .yml, .yaml and .json are tried."
    return either_form(f"{text}  [default: {DEFAULT_CONFIG}]", DEFAULT_CONFIG)(command)


def either_form(text: str, default: str | None = None) -> Callable[[_Command], _Command]:
    """Let a command whose only word is a config take that as `[FILE]` and as `-c FILE`.

    The command gets `config_name`: what either says, or else `default`.
    """
    import click

    def remember(context: click.Context, option: click.Parameter, value: str | None) -> None:
        context.meta[_NAMED_BY_OPTION] = value

    def choose(context: click.Context, argument: click.Parameter, value: str | None) -> str | None:
        named: str | None = context.meta.get(_NAMED_BY_OPTION)
        if named is not None and value is not None:
            problem = f"the config is named twice, as {value!r} and as -c {named!r}: keep one"
            raise click.UsageError(problem, context)
        return next((name for name in (named, value) if name is not None), default)

    option = click.option(
        "-c",
        "--config",
        metavar="FILE",
        help=text,
        shell_complete=complete_files,
        expose_value=False,
        is_eager=True,  # before the argument, which looks at it
        callback=remember,
    )
    argument = click.argument(
        "config_name",
        metavar="[FILE]",
        required=False,
        shell_complete=complete_files,
        callback=choose,
    )
    return lambda command: argument(option(command))


def config_option(command: _Command) -> _Command:
    """Add `-c FILE` to a command whose words are something else."""
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


def _remember(name: str) -> "Callable[[click.Context, click.Parameter, Any], None]":
    def remember(context: "click.Context", parameter: "click.Parameter", value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return remember
