"""What the page shows of the options of a source: everything but secrets."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, field

from pollect.api import Secret, SourceConfig
from pollect.daemon.options import describe_options


class DoorConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host.")]
    password: Annotated[Secret, Meta(description="Password.")] = Secret("")
    community: Annotated[str, Meta(description="Community of SNMP.")] = ""
    urls: Annotated[tuple[str, ...], Meta(description="URLs.")] = ()
    headers: Annotated[dict[str, str], Meta(description="Headers.")] = field(default_factory=dict)
    options: Annotated[Mapping[str, Any], Meta(description="More.")] = field(default_factory=dict)


def shown(**options: Any) -> dict[str, str]:
    config = DoorConfig(type="Door", **{"host": "door.example", **options})
    return {option.name: option.value for option in describe_options(config)}


def test_options_have_the_names_of_the_config_and_the_chosen_ones_come_first() -> None:
    options = describe_options(DoorConfig(type="Door", host="door.example", tick_time=5.0))
    assert [(o.name, o.value) for o in options if not o.default] == [
        ("tickTime", "5.0"),
        ("host", "door.example"),
    ]
    assert [option.default for option in options] == sorted(o.default for o in options)


def test_no_secret_is_shown_wherever_it_stands() -> None:
    text = str(
        shown(
            password=Secret("hush"),
            community="hush",
            urls=("http://me:hush@door.example/x?token=hush", "see http://a/?key=hush, too"),
            headers={"X-Whatever": "hush"},
            options={"api_key": "hush", "nested": {"Token": ["hush"]}, "list": [{"pin": "hush"}]},
        )
    )
    assert "hush" not in text
    assert "door.example/x" in text
    assert shown()["password"] == ""
    assert shown(password=Secret("x"))["password"] == "***"


def test_a_long_value_is_cut_and_what_is_not_data_is_named() -> None:
    options = shown(host="h" * 1000, options={"thing": object()})
    assert len(options["host"]) == 301
    assert "(object)" in options["options"]
