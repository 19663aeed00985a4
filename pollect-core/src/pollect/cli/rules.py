"""`pollect rules`: alert rules for Prometheus, from a config."""

import threading

import click

from pollect.cli.session import Session, complete_files, config_file, log_options
from pollect.daemon.build import assemble
from pollect.daemon.loading import load
from pollect.engine.clock import SystemClock
from pollect.engine.plan import Plan

#: Long lines stay whole: an expression that is cut is hard to read.
LINE_WIDTH = 10_000


@click.command()
@config_file
@click.option("--test", is_flag=True, help="Print a test of each rule for promtool instead.")
@click.option(
    "--rules-file",
    metavar="NAME",
    shell_complete=complete_files,
    default="pollect-rules.yml",
    show_default=True,
    help="Where the rules are that --test is for, beside the test.",
)
@log_options
@click.pass_obj
def rules(session: Session, config_name: str, test: bool, rules_file: str) -> None:
    """Print alert rules for Prometheus: those of Notify, or the default ones.

    Made from the config and from what its sources declare; no device is asked.
    """
    import yaml

    from pollect.derived import rule_tests
    from pollect.derived.rules import as_document, rules_of

    session.start_command_log()
    found = rules_of(load_plan(config_name))
    document = rule_tests.as_document(found, rules_file) if test else as_document(found)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=LINE_WIDTH)
    click.echo(text, nl=False)


def load_plan(config_name: str) -> Plan:
    """Return what a config describes, ready to run and not started."""
    loaded = load(config_name)
    return assemble(loaded.config, loaded.registry, clock=SystemClock(), stopping=threading.Event())
