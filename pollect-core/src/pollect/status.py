"""What `/status.json`, the page and `pollect status` show: the daemon, its sources and writers.

The JSON is the public form of these classes, with camelCase keys; its schema is generated into
`docs/status.schema.json`. New keys may come at any time, none changes its meaning or goes away.
Times are Unix times in seconds, spans are seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pollect.model import Reload

#: How a source fares: `new` before the end of its first probe, `elsewhere` while another member
#: of the fleet probes it, or none does.
State = Literal["up", "troubled", "down", "new", "elsewhere"]
#: One cell of a strip: the worst in its time.
Cell = Literal["none", "up", "troubled", "down"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class DaemonStatus(_Part, frozen=True, kw_only=True):
    """The process that answers."""

    host: str
    version: str
    pid: int
    config: Annotated[str, Meta(description="Path of the config file.")]
    state_dir: str
    started: float
    now: Annotated[float, Meta(description="When this answer was made.")]
    last_reload: Reload


class Counts(_Part, frozen=True, kw_only=True):
    """How many sources are in which state."""

    up: int = 0
    troubled: int = 0
    down: int = 0
    new: int = 0
    elsewhere: int = 0


class Strip(_Part, frozen=True, kw_only=True):
    """Good and bad times of the recent past, the oldest first."""

    cell_seconds: float
    cells: Sequence[Cell]


class Curve(_Part, frozen=True, kw_only=True):
    """Points of one series; null where there was no value."""

    times: Sequence[float]
    values: Sequence[float | None]


class Glance(_Part, frozen=True, kw_only=True):
    """One of the values that say most about a source."""

    title: str
    text: Annotated[str, Meta(description="The value as people read it, with its unit.")]
    value: float
    unit: str


class SourceSummary(_Part, frozen=True, kw_only=True):
    """One source in a list."""

    id: Annotated[str, Meta(description="`collection/type` or `collection/type/name`.")]
    collection: str
    type: str
    name: str | None
    state: State
    outcome: Annotated[str | None, Meta(description="How the last probe ended.")]
    reason: Annotated[str, Meta(description="Why it is down; empty while it is up.")]
    troubles: Annotated[
        Sequence[str], Meta(description="What is wrong with parts of what it checks.")
    ]
    trouble_count: int
    since: Annotated[float | None, Meta(description="When it went up, down, or into trouble.")]
    last_probe: float | None
    next_probe: float | None
    duration_seconds: Annotated[float | None, Meta(description="Of the last probe.")]
    interval: Annotated[float, Meta(description="Seconds between two probes.")]
    series: int
    shard: Annotated[
        int | None,
        Meta(description="In a fleet: which shard it is in; null if every member has it."),
    ] = None
    owner: Annotated[
        str,
        Meta(description="In a fleet: the member that probes it; empty if none or every one does."),
    ] = ""
    glance: Sequence[Glance]
    curve: Annotated[Curve | None, Meta(description="The first of the `glance` values.")]
    strip: Strip


class WriterSummary(_Part, frozen=True, kw_only=True):
    """One writer."""

    name: str
    type: str
    state: Literal["up", "down"]
    reason: str
    written: Annotated[int, Meta(description="Samples it delivered.")]
    waiting: Annotated[int, Meta(description="Samples that wait for its target.")]
    lost: Annotated[int, Meta(description="Samples it gave up on.")]
    strip: Strip


class FleetMember(_Part, frozen=True, kw_only=True):
    """One daemon of a fleet."""

    name: str
    version: str = ""
    shards: int
    sources: Annotated[int, Meta(description="Shared sources in its shards, by this config.")]
    same_config: Annotated[bool, Meta(description="Whether it runs the config of this daemon.")]


class FleetStatus(_Part, frozen=True, kw_only=True):
    """The fleet that this daemon is part of, as it sees it."""

    mode: Annotated[
        Literal["shard", "lease"], Meta(description="Shards that stay, or that move by leases.")
    ]
    name: Annotated[str, Meta(description="This daemon among the members.")]
    group: str = ""
    engine_up: Annotated[bool, Meta(description="Whether the engine answers.")] = True
    lease_remaining_seconds: Annotated[
        float | None, Meta(description="For how long ownership is proven; null without leases.")
    ] = None
    members: Sequence[FleetMember]
    shards: Annotated[Sequence[int], Meta(description="The shards that this daemon owns.")]
    shared_sources: Annotated[int, Meta(description="Sources of which one member probes each.")]
    owned_sources: Annotated[int, Meta(description="Those of them that this daemon probes.")]
    sources_without_owner: int = 0


class Status(_Part, frozen=True, kw_only=True):
    """Everything at a glance: the answer of `/status.json`."""

    daemon: DaemonStatus
    counts: Counts
    sources: Annotated[
        Sequence[SourceSummary], Meta(description="By collection; in each the worst first.")
    ]
    writers: Sequence[WriterSummary]
    fleet: FleetStatus | None = None


class Value(_Part, frozen=True, kw_only=True):
    """One series of a source."""

    metric: Annotated[str, Meta(description="Name in Prometheus.")]
    name: Annotated[str, Meta(description="Name of the value in its source; may be empty.")]
    labels: Mapping[str, str]
    help: str
    kind: Literal["gauge", "counter"]
    unit: str
    value: Annotated[float | None, Meta(description="Null for one that the source has no more.")]
    text: Annotated[
        str,
        Meta(
            description="The value as people read it, with its unit; a counter: how fast it grows."
        ),
    ]
    total: Annotated[
        str, Meta(description="Of a counter: how far it has counted, as people read it.")
    ] = ""
    curve_unit: Annotated[
        str, Meta(description="Unit of the curve: counters are shown as change per second.")
    ]
    minimum: Annotated[float | None, Meta(description="Of the curve, as mean and maximum.")]
    mean: float | None
    maximum: float | None
    curve: Curve


class Option(_Part, frozen=True, kw_only=True):
    """One option of a source; secrets are `***`."""

    name: str
    value: str
    default: bool


class SourceDetail(_Part, frozen=True, kw_only=True):
    """One source: the answer of `/status.json?source=ID`."""

    daemon: DaemonStatus
    summary: SourceSummary
    probes: Annotated[Mapping[str, int], Meta(description="How many ended in which way.")]
    skipped: Annotated[int, Meta(description="Ticks that found the last probe still running.")]
    dropped: Annotated[int, Meta(description="Values left out, beyond `maxSeries`.")] = 0
    last_success: float | None
    last_failure: float | None
    last_error: Annotated[str, Meta(description="Of the last probe that did not work.")]
    plugin: Annotated[str, Meta(description="Distribution and version the source comes from.")]
    options: Sequence[Option]
    values: Sequence[Value]
    values_left_out: Annotated[
        int, Meta(description="Series beyond the option `history`, which are not shown here.")
    ]


class ProbeAnswer(_Part, frozen=True, kw_only=True):
    """What a probe that was asked for brought."""

    outcome: str
    healthy: bool
    error: str
    troubles: Sequence[str]
    duration_seconds: float
    source: SourceDetail


class Explanation(_Part, frozen=True, kw_only=True):
    """Where a metric comes from and where it goes."""

    metric: str
    source: SourceDetail
    place: Annotated[str, Meta(description="Where the source stands in the config.")]
    line: int | None
    include: Sequence[str]
    exclude: Sequence[str]
    filters: Annotated[Sequence[str], Meta(description="What plugins pass every batch through.")]
    values: Sequence[Value]
    writers: Sequence[WriterSummary]
