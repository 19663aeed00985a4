"""Promises that hold for the class alone: light import, described options, hidden secrets."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import SkipTest

import msgspec
from msgspec import inspect

from pollect.config.sections import convert_section
from pollect.errors import InvalidConfig
from pollect.plugin import Secret

#: Options of these names hold secrets.
_SECRET_NAME = re.compile(r"(password|passphrase|secret|token|api_?key)$", re.IGNORECASE)

_IMPORT_PROGRAM = """
import importlib, sys, threading
import copy, pickle  # these two try a module of Jython, for which no plugin is to blame
import pollect.api, pollect.support
module, allowed = sys.argv[1], {*sys.argv[2:], *sys.stdlib_module_names, "pollect", "msgspec"}
refused = []
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            refused.append(name)
            raise ModuleNotFoundError(f"import of {name}", name=name)
sys.meta_path.insert(0, Refuse())
try:
    importlib.import_module(module)
except ModuleNotFoundError:
    if not refused:
        raise
if refused:
    sys.exit(f"imports {', '.join(refused)} when it is imported itself, and not in open()")
if threading.active_count() > 1:
    sys.exit("starts a thread when it is imported")
"""


def demand(condition: object, complaint: str) -> None:
    """Raise `AssertionError` with `complaint` unless `condition` holds."""
    if not condition:
        raise AssertionError(complaint)


def check_light_import(plugin: type[Any]) -> None:
    """The module imports with nothing but the standard library, msgspec and pollect."""
    module = plugin.__module__
    if module == "__main__" or importlib.util.find_spec(module) is None:
        raise SkipTest(f"{module} cannot be imported by its name")
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_PROGRAM, module, module.partition(".")[0]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    demand(done.returncode == 0, f"{module} {done.stderr.strip()}")


def check_unknown_option(config_type: type[msgspec.Struct], section: Mapping[str, Any]) -> None:
    """The section itself is right, and an option with one letter too many is not."""
    if getattr(config_type, "keep_unknown", False):
        return
    convert_section(config_type, section, strict=True)
    name = inspect.type_info(config_type).fields[-1].encode_name  # type: ignore[attr-defined]
    misspelt = f"{name}x"
    try:
        convert_section(config_type, {**section, misspelt: None}, strict=True)
    except InvalidConfig as error:
        hints = [problem.hint for problem in error.problems if problem.key == misspelt]
        demand(hints and name in hints[0], f"{misspelt} is refused without suggesting {name}")
        return
    raise AssertionError(f"the unknown option {misspelt} is accepted")


def check_described_options(config_type: type[msgspec.Struct]) -> None:
    """Every option has a description, and those that hold secrets are of type `Secret`."""
    for name, field in options_of(config_type):
        description = _description(field.type)
        demand(description, f"option {name} has no Meta(description=...)")
        demand(description.endswith("."), f"description of option {name}: expected a sentence")
        plain_text = any(isinstance(part, inspect.StrType) for part in _parts(field.type))
        demand(
            not (_SECRET_NAME.search(name) and plain_text),
            f"option {name} looks like a secret: make it a Secret instead of a str",
        )


def options_of(config_type: type[Any], prefix: str = "") -> Iterator[tuple[str, inspect.Field]]:
    """Yield every option of a config with its name, those of nested structs included."""
    kind = inspect.type_info(config_type)
    for field in kind.fields if isinstance(kind, inspect.StructType) else ():
        if field.name == "options" and getattr(config_type, "keep_unknown", False):
            continue
        name = f"{prefix}{field.encode_name}"
        yield name, field
        for part in _parts(field.type):
            if isinstance(part, inspect.StructType):
                yield from options_of(part.cls, f"{name}.")


def secrets_in(value: object) -> Iterator[str]:
    """Yield the text of every secret inside a config."""
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)


def check_hidden(secrets: list[str], places: dict[str, str]) -> None:
    """None of `secrets` stands in any of `places` (where -> text)."""
    for where, text in places.items():
        for number, secret in enumerate(secrets, 1):
            demand(secret not in text, f"secret {number} of the config can be read in {where}")


def _description(kind: inspect.Type) -> str:
    schema = kind.extra_json_schema if isinstance(kind, inspect.Metadata) else None
    return str((schema or {}).get("description", "")).strip()


def _parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield a type and everything it is made of."""
    yield kind
    match kind:
        case inspect.Metadata():
            yield from _parts(kind.type)
        case inspect.UnionType():
            for member in kind.types:
                yield from _parts(member)
        case inspect.ListType() | inspect.SetType() | inspect.VarTupleType():
            yield from _parts(kind.item_type)
        case inspect.TupleType():
            for item in kind.item_types:
                yield from _parts(item)
        case inspect.DictType():
            yield from _parts(kind.value_type)
