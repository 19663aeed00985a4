"""`pollect notify`: does a message reach those it is for."""

import sys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import click

from pollect.cli.rules import load_plan
from pollect.cli.session import Session, config_file, log_options
from pollect.errors import ConfigError, WriteError, describe
from pollect.text import visible_text


@runtime_checkable
class Notifier(Protocol):
    """A writer that tells people something."""

    def send_test(self) -> Sequence[str]:
        """Send a message to every target; return a line for each.

        Raises `WriteError` with such lines when one did not take it.
        """


@click.command()
@config_file
@click.option("--test", is_flag=True, required=True, help="Send a message to every target now.")
@log_options
@click.pass_obj
def notify(session: Session, config_name: str, test: bool) -> int:
    """Try the writers that send messages, such as Notify.

    The exit code is 1 if a target did not take the message.
    """
    session.start_command_log()
    plan = load_plan(config_name)
    writers = {id(writer): writer for part in plan.executors for writer in part.writers}
    notifiers = [(w.context.name, w) for w in writers.values() if isinstance(w, Notifier)]
    if not notifiers:
        raise ConfigError("no writer that sends messages to people", hint="add one of type Notify")
    failed = False
    for name, notifier in notifiers:
        try:
            for line in notifier.send_test():
                print(visible_text(str(line)))
        except WriteError as error:
            failed = True
            print(visible_text(str(error)), file=sys.stderr)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of a plugin, others go on
            failed = True
            print(visible_text(f"{name}: the test failed: {describe(error)}"), file=sys.stderr)
    return 1 if failed else 0
