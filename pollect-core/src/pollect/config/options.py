"""The options of the frame of a config: those at its top, and those of an executor."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.config.fleet import FleetOptions
from pollect.config.roots import RootsOptions
from pollect.plugin import FilePath, Seconds

#: The option of a source section that names its inventory.
TARGETS = "targets"
#: What may be probed on demand, at the top of a config.
PROBES = "probes"
DEFAULT_TICK_SECONDS = 10.0
DEFAULT_THREADS = 5


class RootOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The options at the top of a config, beside `writers`, `writer` and `executors`."""

    tick_time: Annotated[
        float,
        Meta(description="Seconds between two probes, for executors without their own; above 0."),
    ] = DEFAULT_TICK_SECONDS
    threads: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Worker threads of each executor that does not name its own number."),
    ] = DEFAULT_THREADS
    spread: Annotated[
        bool,
        Meta(
            description="Spread the probes of 50 and more sources of an executor over its tick; "
            "false lets them start together."
        ),
    ] = True
    labels: Annotated[dict[str, str], Meta(description="Static labels, added to every value.")] = (
        msgspec.field(default_factory=dict)
    )
    state_dir: Annotated[
        FilePath | None,
        Meta(
            description="Folder for what outlives a restart, relative to the config file; "
            "default: $STATE_DIRECTORY, else pollect's folder in the XDG state folder."
        ),
    ] = None
    roots: Annotated[
        RootsOptions | None,
        Meta(description="Where the host is mounted, to show it from inside a container."),
    ] = None
    self_metrics: Annotated[
        bool, Meta(description="Whether pollect reports metrics of itself.")
    ] = True
    history: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(
            description="Series whose values of the last hour are kept in memory, for the page and "
            "`pollect status`; 0 keeps none."
        ),
    ] = 2000
    shutdown_timeout: Annotated[
        Seconds, Meta(description="Seconds that stopping may take to deliver what is buffered.")
    ] = 10.0
    keep_stale: Annotated[
        bool,
        Meta(
            description="Keep the last values of a source that stops answering until a restart, "
            "as pollect 1.x did."
        ),
    ] = False
    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Further files, folders or patterns such as `conf.d/*.yml`, relative to "
            "this file; their executors, sources and writers are added."
        ),
    ] = ()

    fleet: Annotated[
        FleetOptions | None,
        Meta(description="Share the sources with other daemons that run the same config."),
    ] = None


class ExecutorOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The options of an executor, beside `sources`, `writers` and `writer`."""

    collection: Annotated[
        str,
        Meta(min_length=1, description="Name of the collection, the first part of metric names."),
    ]
    tick_time: Annotated[
        float | None,
        Meta(description="Seconds between two probes; 0 or nothing for the global `tickTime`."),
    ] = None
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many sources are probed at once; default: the global `threads`."),
    ] = None
    spread: Annotated[
        bool | None,
        Meta(description="As the global `spread`, for this executor."),
    ] = None
    labels: Annotated[
        dict[str, str],
        Meta(description="Static labels, added to every value of this executor."),
    ] = msgspec.field(default_factory=dict)


#: Keys beside the options of the frame; `$schema` is for editors.
ROOT_SECTIONS = ("writers", "writer", "executors", PROBES, "$schema")
#: Keys at the top that begin so are ignored: a place for YAML anchors.
IGNORED_PREFIX = "x-"
EXECUTOR_SECTIONS = ("sources", "writers", "writer")
