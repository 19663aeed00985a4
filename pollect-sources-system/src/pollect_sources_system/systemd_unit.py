"""Source `SystemdUnit`: whether services run, how often they restarted and what they use.

Read through one `systemctl show` (systemctl(1)), which prints a block of `Name=value` lines per
unit. `[not set]` and the largest 64-bit number both mean that systemd does not account for it.
Cost of a probe: one process.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    YES_NO,
    Alert,
    BadResponse,
    ConfigError,
    Headline,
    Kind,
    Metric,
    Name,
    NoData,
    Program,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.process import Command, CommandOverride, program_timeout
from pollect_sources_system.kernel import Table

SYSTEMCTL = Program("systemctl", "systemd")
PROPERTIES = (
    "Id",
    "ActiveState",
    "SubState",
    "NRestarts",
    "MemoryCurrent",
    "CPUUsageNSec",
    "TasksCurrent",
)
#: Of a unit as a whole (systemd(1)); SubState is finer and differs by kind of unit.
STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating")
#: What the troubles call the answers that make no sense.
UNREADABLE = "units"
NOT_ACCOUNTED = 2**64 - 1
NANOSECONDS_PER_SECOND = 1_000_000_000

ACTIVE = Metric(
    "active",
    help="1 while the unit is active, else 0.",
    labels=("unit",),
    headline=Headline("active"),
    panel=YES_NO,
)
STATE = Metric(
    "state",
    help="1 for the state the unit is in, 0 for the others.",
    labels=("unit", "state"),
    alert=Alert(
        "UnitFailed",
        "a systemd unit failed",
        above=0,
        lasting_seconds=60,
        labels={"state": "failed"},
    ),
)
RESTARTS = Metric(
    "restarts_total",
    help="How often systemd restarted the service by itself.",
    kind=Kind.COUNTER,
    labels=("unit",),
)
MEMORY = Metric(
    "memory_bytes",
    help="Memory of the unit in bytes.",
    unit="bytes",
    labels=("unit",),
    headline=Headline("memory"),
)
CPU = Metric(
    "cpu_seconds_total",
    help="Seconds of CPU time that the unit took.",
    unit="seconds",
    kind=Kind.COUNTER,
    labels=("unit",),
)
TASKS = Metric("tasks", help="Processes and threads of the unit.", unit="tasks", labels=("unit",))

#: What systemd accounts for, and how many of its units are one of ours.
ACCOUNTS = (
    ("NRestarts", RESTARTS, 1),
    ("MemoryCurrent", MEMORY, 1),
    ("CPUUsageNSec", CPU, NANOSECONDS_PER_SECOND),
    ("TasksCurrent", TASKS, 1),
)


class SystemdUnitConfig(SourceConfig, frozen=True, kw_only=True):
    units: Annotated[
        tuple[Name, ...] | Name,
        Meta(
            description="Units by name (`nginx` is `nginx.service`) or shell pattern, which finds "
            "loaded units only (`*.service`)."
        ),
    ]
    command: Annotated[
        CommandOverride, Meta(description="What to run instead of `systemctl`, with its words.")
    ] = None


class SystemdUnitSource(Source[SystemdUnitConfig]):
    """State, restarts, memory and CPU time of systemd units."""

    config_type = SystemdUnitConfig
    metrics = (ACTIVE, STATE, RESTARTS, MEMORY, CPU, TASKS)

    def __init__(self, config: SystemdUnitConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._units = [config.units] if isinstance(config.units, str) else list(config.units)
        if not all(self._units) or not self._units:
            raise ConfigError("expected the names of units, got nothing", key="units")
        self._command = Command(SYSTEMCTL, config.command, stopping=context.stopping)

    def open(self) -> None:
        self._command.require()

    def probe(self) -> Iterable[Sample]:
        wanted = f"--property={','.join(PROPERTIES)}"
        arguments = ("show", wanted, "--no-pager", "--", *self._units)
        timeout = program_timeout(self.deadline_seconds())
        units, problems = parse_units(self._command.run(*arguments, timeout=timeout).stdout)
        if not units and problems:
            raise BadResponse(problems[0])
        self.troubles.note(UNREADABLE, problems)
        if not units:
            raise NoData("no such unit is loaded", withdraw=True)
        self.troubles.keep({UNREADABLE, *units})
        for name, properties in units.items():
            if properties["ActiveState"] == "failed":
                self.troubles.failed(name, "failed")
            else:
                self.troubles.works(name)
        return [sample for unit in units.values() for sample in unit_samples(unit)]


def parse_units(text: str) -> Table[Mapping[str, str]]:
    """Return the properties of each unit by its name, and what makes no sense.

    A unit that several names lead to is there once.
    """
    units: dict[str, Mapping[str, str]] = {}
    problems: list[str] = []
    for block in text.strip().split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" in properties and "ActiveState" in properties:
            units[properties["Id"]] = properties
        elif properties:
            problems.append(f"expected the properties of a unit, got {block[:80]!r}")
    return Table(units, problems)


def unit_samples(properties: Mapping[str, str]) -> Iterable[Sample]:
    """Return the samples of one unit; what systemd does not account for is left out."""
    unit, active_state = properties["Id"], properties["ActiveState"]
    yield ACTIVE.sample(float(active_state == "active"), unit)
    for state in STATES:
        yield STATE.sample(float(state == active_state), unit, state)
    for name, metric, scale in ACCOUNTS:
        text = properties.get(name, "")
        if text.isdecimal() and int(text) != NOT_ACCOUNTED:
            yield metric.sample(int(text) / scale, unit)
