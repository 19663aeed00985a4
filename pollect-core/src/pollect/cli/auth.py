"""`pollect auth`: sign in to the account of a source, once, with the operator at the terminal."""

import asyncio
import inspect
import threading
from typing import Any

import click

from pollect.cli.completion import complete_sources
from pollect.cli.session import Session, config_option, log_options
from pollect.daemon.build import assemble
from pollect.daemon.loading import load
from pollect.engine.clock import SystemClock
from pollect.errors import ConfigError, PollectError, describe
from pollect.plugin import Source


@click.command()
@click.argument("type_name", metavar="TYPE", shell_complete=complete_sources)
@click.argument("source_name", metavar="[SOURCE]", required=False)
@config_option
@click.option("--no-browser", is_flag=True, help="Only show the address to open.")
@log_options
@click.pass_obj
def auth(
    session: Session,
    type_name: str,
    source_name: str | None,
    config_name: str,
    no_browser: bool,
) -> int:
    """Sign in to the account of a source, and keep the token for the daemon.

    \b
    pollect auth Viessmann -c config.yml
    pollect auth Viessmann -c config.yml cellar      one of several, by its name

    The daemon itself never asks: a source without a valid token is down, and its reason names
    this command. A running daemon uses the new token at its next probe.
    """
    from pollect.cli.dialogue import TerminalDialogue

    session.start_command_log()
    loaded = load(config_name, dry_run=True)
    plan = assemble(loaded.config, loaded.registry, clock=SystemClock(), stopping=threading.Event())
    sources = [part.source for executor in plan.executors for part in executor.sources]
    source = _choose(sources, type_name, source_name)
    if type(source).sign_in is Source.sign_in:
        raise click.UsageError(f"{type_name} needs no sign-in: what it needs is in the config")
    dialogue = TerminalDialogue(open_browser=not no_browser)
    dialogue.show(f"Signing in {source.context.id}. State is kept in {source.context.state_dir}.")
    try:
        asyncio.run(_sign_in(source, dialogue))
    except (PollectError, KeyboardInterrupt):
        raise
    except BaseException as error:  # code of a plugin, which may raise anything
        raise PollectError(f"{source.context.id}: the sign-in failed: {describe(error)}") from error
    dialogue.show(f"{source.context.id} is signed in.")
    return 0


async def _sign_in(source: Source[Any], dialogue: Any) -> None:
    try:
        await _completed(source.sign_in(dialogue))
    finally:
        await _completed(source.close())


async def _completed(value: Any) -> None:
    if inspect.isawaitable(value):
        await value


def _choose(sources: list[Source[Any]], type_name: str, source_name: str | None) -> Source[Any]:
    of_type = [source for source in sources if source.context.id.type == type_name]
    if not of_type:
        known = ", ".join(dict.fromkeys(source.context.id.type for source in sources))
        raise ConfigError(f"no source of type {type_name!r}", hint=f"there are: {known}")
    chosen = [
        source
        for source in of_type
        if source_name in (None, source.context.id.name, str(source.context.id))
    ]
    names = ", ".join(source.context.id.name or str(source.context.id) for source in of_type)
    if not chosen:
        raise ConfigError(f"no {type_name} named {source_name!r}", hint=f"there are: {names}")
    if len(chosen) > 1:
        raise click.UsageError(f"name one of the sources of type {type_name}: {names}")
    return chosen[0]
