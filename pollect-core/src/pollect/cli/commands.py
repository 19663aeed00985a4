"""The command `pollect` as click sees it: its options, and the sub-commands."""

import errno
import logging
import os
import sys
from collections.abc import Sequence

import click

from pollect import __version__
from pollect.cli import exit_codes
from pollect.cli.lazy import resolve_or_suggest
from pollect.cli.session import DEFAULT_CONFIG, Session, complete_files, log_options
from pollect.daemon.old_distribution import refuse_old_distribution

log = logging.getLogger(__name__)


class Commands(click.Group):
    """pollect's own commands, then those of plugins, which are looked for only when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._own(), *sorted(self._added())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._own().get(cmd_name) or self._added().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return resolve_or_suggest(super().resolve_command, self, ctx, args)

    def _own(self) -> dict[str, click.Command]:
        from pollect.builtin.plugin import pollect_commands

        return {command.name or "": command for command in pollect_commands()}

    def _added(self) -> dict[str, click.Command]:
        from pollect.discovery.registry import Registry

        taken = dict.fromkeys(self._own(), "pollect")
        added: dict[str, click.Command] = {}
        for distribution, command in Registry().commands():
            name = command.name or ""
            if name in taken:
                log.warning(
                    "%s: its command %r is left out, %s has one of that name",
                    distribution,
                    name,
                    taken[name],
                )
                continue
            taken[name] = distribution
            added[name] = command
        return added


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-c",
    "--config",
    "config_name",
    metavar="FILE",
    shell_complete=complete_files,
    help="As in `pollect run`.",
)
@click.option("-r", "--dry-run", is_flag=True, help="As in `pollect run`.")
@click.option("--dependencies", is_flag=True, help="As `pollect deps FILE`.")
@log_options
@click.version_option(__version__, prog_name="pollect", message="%(prog)s %(version)s")
@click.pass_context
def pollect(
    ctx: click.Context, config_name: str | None, dry_run: bool, dependencies: bool
) -> int | None:
    """Collect metrics from many sources and hand them to many writers.

    As in pollect 1.x, `pollect --config FILE` is `pollect run -c FILE`.
    """
    if ctx.invoked_subcommand is not None:
        refuse_old_distribution()
        if config_name or dry_run or dependencies:
            raise click.UsageError(f"options of {ctx.invoked_subcommand} go after its name")
        return None
    refuse_old_distribution()
    if dependencies:
        from pollect.cli.deps import print_dependencies

        return print_dependencies(config_name or DEFAULT_CONFIG)
    from pollect.cli.start import run_daemon

    if config_name is None and not dry_run:
        click.echo(ctx.get_help())
        return exit_codes.USAGE
    session = ctx.ensure_object(Session)
    return run_daemon(config_name or DEFAULT_CONFIG, session, dry_run=dry_run)


def run_command_line(arguments: Sequence[str], session: Session) -> int:
    """Run one command line and return its exit code.

    Raises what a command raises, but explains a mistake in the command line itself.
    """
    streams = sys.stdout, sys.stderr
    try:
        result = pollect.main(
            list(arguments), prog_name="pollect", obj=session, standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return exit_codes.INTERRUPTED
    except SystemExit:
        if sys.stdout is streams[0]:
            raise  # of a plugin's command
        # What click makes of a broken pipe, without saying which. It also covers the streams.
        sys.stdout, sys.stderr = streams
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
