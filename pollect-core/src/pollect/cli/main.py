"""The command `pollect`: finds the sub-command, and turns every error into one line."""

import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence

import click

from pollect import __version__
from pollect.cli import exit_codes
from pollect.cli.lazy import resolve_or_suggest
from pollect.cli.session import DEFAULT_CONFIG, Session, complete_files, log_options
from pollect.daemon.old_distribution import refuse_old_distribution
from pollect.errors import ConfigError, PollectError

#: Seconds that threads of plugins get to end by themselves.
THREAD_GRACE_SECONDS = 0.3

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
            raise click.UsageError(f"options of {ctx.invoked_subcommand} stand behind its name")
        return None
    refuse_old_distribution()
    if dependencies:
        from pollect.cli.deps import print_dependencies

        return print_dependencies(config_name or DEFAULT_CONFIG)
    from pollect.cli.run import run_daemon

    if config_name is None and not dry_run:
        click.echo(ctx.get_help())
        return exit_codes.USAGE
    session = ctx.ensure_object(Session)
    return run_daemon(config_name or DEFAULT_CONFIG, session, dry_run=dry_run)


def main() -> int:
    """Run the command line of this process; the console script calls it."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name from a config must not cause a failure in a locale that cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = call(sys.argv[1:])
    _leave_if_threads_last(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    return code


def _open_standard_streams() -> None:
    """Let closed standard streams lead nowhere: the next socket would take the place of one."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - for good


def _drop_output() -> None:
    """Let standard output lead nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def call(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0 is fine, 1 a failure at run time, 2 a mistake in the config or the command line, 3 a plugin
    or a dependency that is missing.
    """
    session = Session()
    try:
        result = pollect.main(
            list(arguments), prog_name="pollect", obj=session, standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # the reader, `head` for example, has seen enough
        return exit_codes.FAILURE
    except PollectError as error:
        if session.debug:
            traceback.print_exc()
        else:
            print_error(error)
        return exit_codes.exit_code(error)
    except Exception as error:  # noqa: BLE001 - users get one line, not a traceback
        if session.debug:
            traceback.print_exc()
        else:
            print(
                f"pollect: internal error: {type(error).__name__}: {error} "
                "(please report it, with what the same command says with --debug)",
                file=sys.stderr,
            )
        return exit_codes.FAILURE


def print_error(error: PollectError) -> None:
    """Print an error on standard error; mistakes of a config one a line, as compilers do."""
    print(error if isinstance(error, ConfigError) else f"pollect: {error}", file=sys.stderr)


def _leave_if_threads_last(code: int) -> None:
    """End the process although a plugin's thread does not end: Python would wait until it does."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    lasting = [thread for thread in others if not thread.daemon]
    for thread in lasting:
        thread.join(THREAD_GRACE_SECONDS)
    names = ", ".join(thread.name for thread in lasting if thread.is_alive())
    if names:
        log.warning("leaving although these threads still run: %s", names)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
