"""The options of the source `SnmpGet`."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pollect_sources_network.snmp.config import AgentConfig
from pollect_sources_network.snmp.conversion import Conversion
from pollect_sources_network.snmp.values import Display


class IndexRange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Numbers to put into the OIDs of one metric, both ends included."""

    from_: Annotated[int, Meta(ge=0, description="First number.")] = msgspec.field(name="from")
    to: Annotated[int, Meta(ge=0, description="Last number.")]
    label: Annotated[
        str,
        Meta(
            description="Label that holds the number; `${label}` in the OIDs is replaced by it.",
            min_length=1,
        ),
    ]


class MetricEntry(Conversion, frozen=True, kw_only=True):
    """One value, or one for each number of a range."""

    name: Annotated[str, Meta(description="Name of the value.", min_length=1)]
    oid: Annotated[
        str, Meta(description="Object: `1.3.6...`, `.1.3.6...`, `iso.3.6...` or a MIB name.")
    ] = ""
    oids: Annotated[
        tuple[str, ...], Meta(description="Objects whose values are added up, in place of `oid`.")
    ] = ()
    mode: Annotated[
        Literal["rate", "value"] | None,
        Meta(description="`rate` for the change per second in place of the value."),
    ] = None
    range: Annotated[
        IndexRange | None, Meta(description="Repeat this entry for a range of numbers.")
    ] = None
    oid_labels: Annotated[
        dict[str, str], Meta(description="Labels whose values are read from these objects.")
    ] = msgspec.field(default_factory=dict)
    label_patterns: Annotated[
        dict[str, str],
        Meta(
            description="Regular expressions that find what to keep of the text of such a label: "
            "the first group, or all that matches."
        ),
    ] = msgspec.field(default_factory=dict)
    label_display: Annotated[
        dict[str, Display],
        Meta(
            description="How octet strings are shown in such a label: `mac`, `hex`, `ip`, `text` "
            "or `dateAndTime`; default: `auto`, as text where it is printable, as octets where the "
            "MIB says so."
        ),
    ] = msgspec.field(default_factory=dict)


class SnmpGetConfig(AgentConfig, frozen=True, kw_only=True):
    # The key is older than the filter of the same name that other sources have.
    metrics: Annotated[
        tuple[MetricEntry, ...],
        Meta(description="The values to read; default: only uptime and response time."),
    ] = ()  # type: ignore[assignment]
    reboot_check: Annotated[
        bool,
        Meta(
            description="Read sysUpTime too, so that a restarted device is not taken for a "
            "wrapped counter."
        ),
    ] = True

    @classmethod
    def placeholders(cls, section: Mapping[str, Any]) -> Collection[str]:
        """Return the names whose `${...}` are not environment variables: labels of ranges."""
        entries = section.get("metrics")
        labels = set()
        for entry in entries if isinstance(entries, list) else ():
            numbers = entry.get("range") if isinstance(entry, Mapping) else None
            if isinstance(numbers, Mapping) and "label" in numbers:
                labels.add(str(numbers["label"]))
        return labels
