"""The options of a config class, in words."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pollect.api import Secret, SourceConfig, WriterConfig
from pollect.config.describe import OptionRow, describe_options
from pollect.config.options import RootOptions


class Register(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: Annotated[str, Meta(description="Name.")]
    scale_factor: Annotated[Annotated[float, Meta(gt=0)], Meta(description="Factor.")] = 1.0


class PlcConfig(SourceConfig, frozen=True, kw_only=True):
    keep_unknown = True
    host: Annotated[str, Meta(description="Host.")]
    registers: Annotated[list[Register], Meta(description="What to read.")] = msgspec.field(
        default_factory=list
    )
    by_name: Annotated[dict[str, Register] | None, Meta(description="More.")] = None
    unit_id: Annotated[Annotated[int, Meta(ge=1, le=247)] | None, Meta(description="Address.")] = (
        None
    )
    mode: Annotated[Literal["slow", "fast"], Meta(description="Pace.")] = "fast"
    url: Annotated[str | list[str], Meta(description="Addresses.")] = ""
    types: Annotated[tuple[str, ...], Meta(description="Types.")] = ("Number", "Switch")
    pin: Annotated[Secret, Meta(description="PIN.")] = Secret("geheim")
    # A source may give a common option a meaning of its own.
    timeout: Annotated[Annotated[float, Meta(gt=0)], Meta(description="Seconds to wait.")] = 2.0
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)


def test_every_option_has_its_row() -> None:
    own = [row for row in describe_options(PlcConfig) if not row.common]
    assert own == [
        OptionRow("timeout", "number", "2", False, "above 0", "Seconds to wait.", False),
        OptionRow("host", "text", "", True, "", "Host.", False),
        OptionRow("registers", "list of mappings", "", False, "", "What to read.", False),
        OptionRow("registers[].name", "text", "", True, "", "Name.", False),
        OptionRow("registers[].scaleFactor", "number", "1", False, "above 0", "Factor.", False),
        OptionRow("byName", "mapping of names to mappings", "", False, "", "More.", False),
        OptionRow("byName.*.name", "text", "", True, "", "Name.", False),
        OptionRow("byName.*.scaleFactor", "number", "1", False, "above 0", "Factor.", False),
        OptionRow("unitId", "whole number", "", False, "from 1 to 247", "Address.", False),
        OptionRow("mode", "one of fast, slow", "fast", False, "", "Pace.", False),
        OptionRow("url", "text or list of texts", "", False, "", "Addresses.", False),
        OptionRow("types", "list of texts", "Number, Switch", False, "", "Types.", False),
        OptionRow("pin", "secret text", "", False, "", "PIN.", False),
    ]


def test_common_options_come_last_with_what_is_inside_them() -> None:
    names = [row.name for row in describe_options(PlcConfig) if row.common]
    assert names == [
        "type", "name", "labels", "tickTime", "enabled", "metrics", "metrics.include",
        "metrics.exclude", "metrics.rename", "metrics.scale", "dropLabels", "renameLabels",
        "maxSeries", "details", "keepStale", "fleet", "exclusive",
    ]  # fmt: skip


def test_base_and_frame_can_be_described_too() -> None:
    assert {row.name for row in describe_options(WriterConfig)} == {
        "type", "selfMetrics", "buffer", "buffer.samples", "buffer.age", "spool",
    }  # fmt: skip
    assert describe_options(RootOptions)[0] == OptionRow(
        "tickTime", "number", "10", False, "",
        "Seconds between two probes, for executors without their own; above 0.", False,
    )  # fmt: skip
