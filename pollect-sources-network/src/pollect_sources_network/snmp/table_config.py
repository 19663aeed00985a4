"""The options of the source `SnmpTable`."""

from typing import Annotated, Literal

from msgspec import Meta

from pollect_sources_network.snmp.config import AgentConfig
from pollect_sources_network.snmp.connect import MAX_REPETITIONS
from pollect_sources_network.snmp.conversion import Conversion
from pollect_sources_network.snmp.values import Display


class ColumnEntry(Conversion, frozen=True, kw_only=True):
    """One column of values."""

    name: Annotated[str, Meta(description="Name of the value.", min_length=1)]
    oid: Annotated[str, Meta(description="Column: `1.3.6...` or a MIB name, without an index.")]
    mode: Annotated[
        Literal["gauge", "counter", "rate"],
        Meta(description="What the cells are; `rate` for the change per second of a counter."),
    ] = "gauge"


class SnmpTableConfig(AgentConfig, frozen=True, kw_only=True):
    preset: Annotated[
        Literal["interfaces", "storage", "ups", "sensors", "printer"] | None,
        Meta(description="Tables that pollect knows."),
    ] = None
    columns: Annotated[
        tuple[ColumnEntry, ...], Meta(description="Columns of one table, in place of a preset.")
    ] = ()
    row_labels: Annotated[
        dict[str, str],
        Meta(description="Labels of a row and the columns they are read from, as in `ifName`."),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    index_label: Annotated[
        str, Meta(description="Label for the index of a row; empty for none.")
    ] = "index"
    agent_labels: Annotated[
        dict[str, str],
        Meta(
            description="Labels that all rows share and the objects they are read from, as in "
            "`sysName.0`."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    label_patterns: Annotated[
        dict[str, str],
        Meta(
            description="Regular expressions that find what to keep of the text of a label: the "
            "first group, or all that matches."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    label_display: Annotated[
        dict[str, Display],
        Meta(
            description="How octet strings are shown in a label: `mac`, `hex`, `ip`, `text` or "
            "`dateAndTime`; default: `auto`, as text where it is printable, as octets where the "
            "MIB says so."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    only: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Keep only rows whose label matches one of these shell patterns, by label."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    max_repetitions: Annotated[int, Meta(ge=1, le=100, description="Rows asked for at once.")] = (
        MAX_REPETITIONS
    )
