"""The core's own plugin: sources and writers for trying out and for tests."""

from typing import TYPE_CHECKING

from pollect.api import Needs, SourceSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    import click


#: Not even the network.
_NOTHING = Needs(families=())


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return the sources of the core."""
    return [
        SourceSpec(
            "Dummy",
            "pollect.builtin.dummy:DummySource",
            summary="Values from the config itself",
            needs=_NOTHING,
        ),
    ]


@hookimpl
def pollect_writers() -> list[WriterSpec]:
    """Return the writers of the core."""
    return [
        WriterSpec(
            "DryRun",
            "pollect.builtin.dry_run:DryRunWriter",
            summary="Prints instead of writing",
            needs=_NOTHING,
        ),
        WriterSpec(
            "InMemory",
            "pollect.builtin.in_memory:InMemoryWriter",
            summary="Keeps what a whole tick wrote, for tests",
            needs=_NOTHING,
        ),
        WriterSpec(
            "ParallelInMemory",
            "pollect.builtin.in_memory:ParallelInMemoryWriter",
            summary="Keeps what each source wrote, for tests",
            needs=_NOTHING,
        ),
    ]


@hookimpl
def pollect_commands() -> "list[click.Command]":
    """Return pollect's own commands in the order of their use.

    The module of each is imported when it runs.
    """
    from pollect.cli.lazy import LazyCommand

    return [
        LazyCommand("init", "pollect.cli.init:init", "Write a config that suits this host."),
        LazyCommand("check", "pollect.cli.check:check", "Find the mistakes of a config."),
        LazyCommand("deps", "pollect.cli.deps:deps", "Print what to install for a config."),
        LazyCommand("doctor", "pollect.cli.doctor:doctor", "Check what this machine lacks."),
        LazyCommand("run", "pollect.cli.run:run", "Collect until stopped."),
        LazyCommand("status", "pollect.cli.status:status", "Show the state of a running pollect."),
        LazyCommand("explain", "pollect.cli.explain:explain", "Show where a metric comes from."),
        LazyCommand(
            "reload", "pollect.cli.reload:reload", "Reload the config of a running pollect."
        ),
        LazyCommand("probe", "pollect.cli.probe:probe", "Probe a source once and show its values."),
        LazyCommand("auth", "pollect.cli.auth:auth", "Sign in to the account of a source."),
        LazyCommand("plugins", "pollect.cli.plugins:plugins", "List and explain plugins."),
        LazyCommand("schema", "pollect.cli.schema:schema", "Print the JSON Schema of a config."),
        LazyCommand("rules", "pollect.cli.rules:rules", "Print alert rules for Prometheus."),
        LazyCommand(
            "dashboard", "pollect.cli.dashboard:dashboard", "Print a dashboard for Grafana."
        ),
        LazyCommand("notify", "pollect.cli.notify:notify", "Send a test message."),
        LazyCommand("unit", "pollect.cli.unit:unit", "Print a systemd unit for a config."),
        LazyCommand("compose", "pollect.cli.compose:compose", "Print a compose file for a config."),
        LazyCommand("fleet", "pollect.cli.fleet:fleet", "Show who owns what in a fleet."),
        LazyCommand(
            "completion",
            "pollect.cli.completion:completion",
            "Print the completion script of a shell.",
        ),
    ]
