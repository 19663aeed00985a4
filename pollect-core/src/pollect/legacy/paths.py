"""The import paths of pollect 1.x, in one table, and the finder that serves them.

`pollect/__init__.py` asks here for modules of `pollect` that do not exist. What an extension needs
is there under its old path; what was internal raises an ImportError that says what came instead.
"""

import importlib
from collections.abc import Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pollect.discovery.entry import Kind

#: Old module -> where its names are now, and those names.
KEPT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "pollect.core.config.ConfigContainer": ("pollect.legacy.config", ("ConfigContainer",)),
    "pollect.core.events.Event": ("pollect.legacy.event", ("Event",)),
    "pollect.core.Helper": (
        "pollect.legacy.helper",
        ("accept", "get_url", "remove_empty_list"),
    ),
    "pollect.core.Log": ("pollect.legacy.log", ("ColorFormatter", "Log")),
    "pollect.core.OSEnv": (
        "pollect.legacy.platform",
        ("CURRENT_PLATFORM", "LINUX", "WINDOWS", "is_linux"),
    ),
    "pollect.core.ValueCache": ("pollect.legacy.cache", ("ValueCache",)),
    "pollect.core.ValueSet": ("pollect.legacy.values", ("AvgValue", "Value", "ValueSet")),
    "pollect.libs.Units": ("pollect.legacy.units", ("Unit", "ValueWithUnit", "Ws")),
    "pollect.libs.Utils": ("pollect.legacy.utils", ("chunks", "put_if_absent")),
    "pollect.sources.Source": ("pollect.legacy.source", ("Source",)),
    "pollect.writers.Writer": (
        "pollect.legacy.writer",
        ("DryRunWriter", "InMemoryWriter", "ParallelInMemoryWriter", "Writer"),
    ),
}

#: Old module -> what came instead.
REMOVED: Mapping[str, str] = {
    "pollect.core.Core": "pollect runs a plan in pollect.engine; what setup_source() gets has the "
    "attributes `config` and `tick_time` of the old Configuration",
    "pollect.core.ExecutionScheduler": "pollect.engine schedules now",
    "pollect.core.Factories": "pollect.discovery.registry.Registry finds types; in a test, "
    "pollect.testing.build_source() builds a source from its section of a config",
    "pollect.libs.api.Serializable": "use a dataclass or msgspec.Struct",
    "pollect.libs.DependencyResolver": "`pollect deps FILE` lists what a config needs",
    "pollect.Requirements": "`pollect deps FILE` lists what a config needs; a plugin states its "
    "own needs in its pyproject.toml",
    "pollect.sources.helper.NetworkStats": "it was part of the source K8sNamespaceTraffic",
    "pollect.sources.helper.ProbeValue": "pollect.support.rates remembers the last probe",
    "pollect.sources.helper.PsutilStats": "pollect.support.rates makes rates of counters",
}

_PACKAGES = frozenset(
    (
        "pollect.core",
        "pollect.core.config",
        "pollect.core.events",
        "pollect.libs",
        "pollect.libs.api",
        "pollect.sources",
        "pollect.sources.helper",
        "pollect.writers",
    )
)
#: Packages in which every built-in type had a module, with the last word of its name.
_BUILTIN: "Mapping[str, Kind]" = {"pollect.sources": "source", "pollect.writers": "writer"}


def find_spec(name: str) -> ModuleSpec | None:
    """Return the spec of an old module or package; None for what pollect 1.x never had."""
    if name in _PACKAGES:
        return ModuleSpec(name, _OldModule(), is_package=True)
    if name in KEPT or _reason(name):
        return ModuleSpec(name, _OldModule())
    return None


class _OldModule(Loader):
    """Fills an old module with the names of its successor, or says that there is none."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name in _PACKAGES:
            return
        if name not in KEPT:
            _refuse(name, name)
        successor, names = KEPT[name]
        source = importlib.import_module(successor)
        for public in names:
            setattr(module, public, getattr(source, public))
        module.__doc__ = f"`{name}` of pollect 1.x; its names are in `{successor}`."
        module.__dict__["__all__"] = list(names)
        if name == "pollect.sources.Source":
            module.__dict__["__getattr__"] = _missing_source


def _missing_source(name: str) -> object:
    """Tell about a built-in source that 1.x kept beside the base class."""
    if name == "LoadAvgSource":
        _refuse(f"pollect.sources.{name}", "pollect.sources.Source")
    raise AttributeError(f"module 'pollect.sources.Source' has no attribute {name!r}")


def _refuse(name: str, module: str) -> NoReturn:
    raise ImportError(f"{name} of pollect 1.x is gone: {_reason(name)}", name=module)


def _reason(name: str) -> str:
    """Return what came instead of an old module; empty if there was no such module."""
    if name in REMOVED:
        return REMOVED[name]
    parent, _, last = name.rpartition(".")
    kind = _BUILTIN.get(parent)
    if kind is not None:
        suffix = kind.title()
        return _where_is_now(kind, last.removesuffix(suffix)) if last.endswith(suffix) else ""
    internal = name.startswith(("pollect.core.", "pollect.libs.", "pollect.sources.helper."))
    return "it was internal, and nothing came instead" if internal else ""


def _where_is_now(kind: "Kind", type_name: str) -> str:
    """Return where the class of a built-in type is now."""
    from pollect.discovery.catalogue import Catalogue

    entry = Catalogue().find(kind, type_name)
    if entry is None:
        return (
            f"built-in {kind}s are in distributions of their own now, and yours belong into a "
            f"folder beside the config, as `type: extensions.{type_name}`"
        )
    module, _, class_name = entry.spec.target.partition(":")
    return f"{class_name} is in {module} now, of {entry.distribution}: {entry.pip_command}"
