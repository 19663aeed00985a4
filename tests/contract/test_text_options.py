"""Options that are paths or names take no number in place of one: `disks: 5` is a mistake."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from pollect.config.declared import fields_of, struct_type
from pollect.config.problems import Problems
from pollect.config.sections import SectionReader
from pollect.config.words import choices, is_secret, item_types, meaning
from pollect.discovery.registry import Registry

#: Options called so are files, folders or hosts.
_PATH_OR_HOST = re.compile(
    r"(?:file|dir|path|paths|cert|key|ca|host|hosts|hostIp|ip|sourceAddress|bind|disks)$",
    re.IGNORECASE,
)
#: Called so, and something else: the id of a key.
_OTHERS = {("S3Objects", "accessKey")}
#: Lists in which a number can be right, or whose items are judged by what they are.
_LISTS_WITH_NUMBERS = {
    ("GitHub", "repositories"),  # owner/name
    ("Certificate", "urls"),
    ("K8sNamespaceTraffic", "cidrs"),
    ("Http", "statusCode"),
    ("Http", "url"),
    ("Mqtt", "excludePattern"),
    ("Mqtt", "includePattern"),
    ("Notify", "rules"),
    ("AiOnTheEdge", "value"),
    ("S3Objects", "prefixes"),  # a year
    ("SmaEnergyMeter", "serial"),
    ("SnmpGet", "oids"),
    ("ZodiacPool", "devices"),  # serial numbers
    # Words of a command, a number of seconds for example; the program alone is none.
    *((name, "command") for name in ("SmartCtl", "SystemdUnit", "Sensors", "Zfs")),
}
#: Every source has them; a pattern that matches nothing is reported.
_SHARED = {"include", "exclude", "dropLabels"}


def types() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    registry = Registry()
    for name in registry.sources:
        yield name, registry.source_type(name).config_type
    for name in registry.writers:
        yield name, registry.writer_type(name).config_type


def options(kind: inspect.StructType, path: str = "") -> Iterator[tuple[str, inspect.Field]]:
    """Yield every option of a section with its path, those inside others included."""
    for field in fields_of(kind):
        yield path + field.encode_name, field
        for choice in choices(field.type):
            inner = [choice, *(part for item in item_types(choice) or () for part in choices(item))]
            for part in inner:
                if isinstance(part, inspect.StructType):
                    yield from options(part, f"{path}{field.encode_name}.")


def takes_text(field: inspect.Field) -> bool:
    kinds = choices(field.type)
    return any(isinstance(kind, inspect.StrType) for kind in kinds) and not any(
        isinstance(kind, inspect.BoolType) for kind in kinds
    )


def is_list_of_texts(field: inspect.Field) -> bool:
    lists = (item_types(kind) or () for kind in choices(field.type))
    return any(
        isinstance(part, inspect.StrType) for items in lists for item in items
        for part in choices(item)
    )  # fmt: skip


def test_no_option_of_paths_hosts_or_names_takes_a_number() -> None:
    unmarked = {
        (name, path.rpartition(".")[2])
        for name, config_type in types()
        for path, field in options(struct_type(config_type))
        if not meaning(field.type) and not is_secret(field.type)
        if (takes_text(field) and _PATH_OR_HOST.search(path)) or is_list_of_texts(field)
    }
    unmarked = {(name, option) for name, option in unmarked if option not in _SHARED}
    assert unmarked - _OTHERS - _LISTS_WITH_NUMBERS == set()


@pytest.mark.parametrize("value", [5, 10.5, True])
@pytest.mark.parametrize(("name", "config_type"), list(types()), ids=lambda value: str(value)[:20])
def test_number_in_their_place_is_refused(
    name: str, config_type: type[msgspec.Struct], value: Any
) -> None:
    marked = [
        field.encode_name
        for path, field in options(struct_type(config_type))
        if "." not in path and meaning(field.type)
    ]
    for option in marked:
        problems = Problems()
        SectionReader(problems).read(config_type, {"type": name, option: value}, "")
        (refused,) = (error for error in problems.errors if error.key == option)
        written = str(value).lower()
        assert re.fullmatch(f"expected a (path|host|name), got {written}", refused.problem)
        assert refused.hint == f"write '{written}' in quotes if that is what it is called"
        problems = Problems()
        SectionReader(problems).read(config_type, {"type": name, option: written}, "")
        assert not any(error.key == option for error in problems.errors)
