"""What the sources and writers of a config need, option by option.

The config may be read where it will not run: unset variables and absent secrets do no harm here.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pollect.config.environment import Environment, Unset, fill_data
from pollect.config.reading import read_document
from pollect.daemon.loading import extension_paths
from pollect.discovery.entry import Entry
from pollect.discovery.needs import Named, named_types
from pollect.discovery.registry import Registry
from pollect.errors import PluginError
from pollect.needs import Needs, Port

#: The folder that systemd puts credentials into.
CREDENTIALS = "CREDENTIALS_DIRECTORY"
_CREDENTIAL = re.compile(r"\$\{file:\$\{" + CREDENTIALS + r"\}/([A-Za-z0-9_.-]+)\}")
_FILE = re.compile(r"\$\{file:(/[^}$]+)\}")
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_-]+)(?:(:[-?])|\})")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
#: What nothing is known of, such as an extension, may look at everything that is not secret.
UNKNOWN = Needs(processes=True)


@dataclass(frozen=True, slots=True)
class Listening:
    """A port that a part of the config listens on."""

    protocol: str
    number: int
    #: Empty for all addresses.
    address: str = ""

    @property
    def local(self) -> bool:
        """Whether only this host can connect."""
        return self.address.startswith("127.") or self.address in ("::1", "localhost")


@dataclass(frozen=True, slots=True)
class Part:
    """One source or writer of a config."""

    kind: str
    type_name: str
    #: The type, with the name of the source if it has one: `SmartCtl backup`.
    label: str
    needs: Needs
    #: What the config says, with the defaults of the type.
    options: Mapping[str, Any]
    #: None for an extension and for an unknown type.
    entry: Entry | None

    def texts(self, option: str) -> list[str]:
        """Return the value of an option that is a text or a list of texts."""
        value = self.options.get(option)
        items = value if isinstance(value, list | tuple) else [value]
        return [str(item) for item in items if isinstance(item, str) and item]

    def command(self) -> str:
        """Return what the config says to run in place of the program; empty for itself."""
        return " ".join(self.texts("command"))

    def ports(self) -> Iterator[Listening]:
        """Yield the ports it listens on whose number is known."""
        for port in self.needs.ports:
            number = self._number(port)
            if number:
                address = self.options.get(port.address)
                known = isinstance(address, str) and not isinstance(address, Unset)
                yield Listening(port.protocol, number, str(address) if known else "")

    def _number(self, port: Port) -> int:
        value = self.options.get(port.option, port.number) if port.option else port.number
        try:
            return 0 if isinstance(value, Unset) else int(value)
        except (TypeError, ValueError):
            return 0


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything a config needs."""

    file: Path
    parts: tuple[Part, ...]
    #: Unknown types, with the reason.
    unusable: tuple[tuple[Named, PluginError], ...]
    #: Names of credentials of systemd that the config reads.
    credentials: tuple[str, ...]
    #: Other files with a secret in them, absolute.
    secret_files: tuple[str, ...]
    #: Variables without a default.
    variables: tuple[str, ...]
    #: What the config says of itself; empty for the default.
    state_dir: str
    shutdown_seconds: float

    @property
    def directory(self) -> Path:
        """The folder of the config, where relative paths start."""
        return self.file.absolute().parent

    def unique(self) -> list[Part]:
        """Return the parts, those with equal needs and options once."""
        found: list[Part] = []
        for part in self.parts:
            if part not in found:
                found.append(part)
        return found

    def paths(self, part: Part, *, write: bool | None = None) -> Iterator[Path]:
        """Yield the absolute paths a part names or needs; with `write` only those of one kind."""
        for location in part.needs.paths:
            if write is not None and location.write != write:
                continue
            named = part.texts(location.option) if location.option else []
            for text in named or [location.path]:
                if text and text != "-":
                    yield self.directory.joinpath(Path(text).expanduser())
        if not write:
            yield from _absolute_paths(part.options)


def survey(file: Path, registry: Registry | None = None) -> Survey:
    """Return what a config needs; raises `ConfigError` if it cannot be read at all."""
    document = read_document(file)
    environment = Environment(os.environ, file.absolute().parent)
    registry = registry or Registry(extension_paths=extension_paths(file))
    data = fill_data(document.data, environment, lambda path, section: ())
    parts: list[Part] = []
    unusable: list[tuple[Named, PluginError]] = []
    for named in named_types(data):
        section = _section(data, named.path)
        if section.get("enabled") is False:
            continue
        entry = registry.known(named.kind, named.type_name)
        if entry is None and "." not in named.type_name:
            try:
                registry.find(named.kind, named.type_name)
            except PluginError as error:
                unusable.append((named, error))
        parts.append(part_of(named.kind, section, entry))
    top = data if isinstance(data, Mapping) else {}
    texts = list(_texts(document.data))
    return Survey(
        file=file,
        parts=tuple(parts),
        unusable=tuple(unusable),
        credentials=_found(_CREDENTIAL, texts),
        secret_files=_found(_FILE, texts),
        variables=tuple(name for name in _variables(texts) if name != CREDENTIALS),
        state_dir=_plain_text(top.get("stateDir")),
        shutdown_seconds=_seconds(top.get("shutdownTimeout"), 10.0),
    )


def part_of(kind: str, section: Mapping[str, Any], entry: Entry | None) -> Part:
    """Return a section of a config with what its type needs; `entry` is None for an extension."""
    type_name, name = str(section.get("type")), section.get("name")
    known = {**_defaults(entry), **section}
    return Part(
        kind=kind,
        type_name=type_name,
        label=f"{type_name} {name}" if isinstance(name, str) and name else type_name,
        needs=entry.spec.needs if entry is not None else UNKNOWN,
        options={
            key: value
            for key, value in known.items()
            if not isinstance(value, Unset) and key not in ("labels", "metrics")
        },
        entry=entry,
    )


def _defaults(entry: Entry | None) -> dict[str, Any]:
    """Return the options a type has when the config is silent; nothing if it cannot be loaded."""
    if entry is None or not entry.installed:
        return {}
    try:
        config_type = entry.spec.load().config_type
    except PluginError:
        return {}
    return {
        field.encode_name: field.default
        for field in msgspec.structs.fields(config_type)
        if field.default is not msgspec.NODEFAULT
    }


def _section(data: Any, path: str) -> Mapping[str, Any]:
    """Return the section whose type stands at `path`: `executors[0].sources[2].type`."""
    found = data
    for key, index in _STEP.findall(path.removesuffix(".type")):
        found = found[int(index)] if index else found[key]
    return found if isinstance(found, Mapping) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _found(pattern: re.Pattern[str], texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match for text in texts for match in pattern.findall(text)))


def _variables(texts: Iterable[str]) -> list[str]:
    """Return variables without a default; `$${NAME}` is none."""
    found: dict[str, None] = {}
    for text in texts:
        for name, mode in _VARIABLE.findall(text.replace("$$", "")):
            if mode != ":-":
                found[name] = None
    return list(found)


def _absolute_paths(value: Any) -> Iterator[Path]:
    """Yield what is written like an absolute path, in any option, and exists here."""
    for text in _texts(value):
        if text.startswith(("/", "~/")) and len(text) > 1:
            path = Path(text).expanduser()
            try:
                if path.exists():
                    yield path
            except OSError:
                continue


def _plain_text(value: Any) -> str:
    return value if isinstance(value, str) and not isinstance(value, Unset) else ""


def _seconds(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else default
