"""Types with a dot: classes in files of the operator's own, without any packaging.

For `type: extensions.Tide` the class is `TideSource` or `Tide`, in the module
`extensions.TideSource` or `extensions.Tide`, in a folder `extensions` beside the config. New-style
classes derive from `pollect.api.Source`; those of pollect 1.x get an adapter around them.
"""

import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from pollect.discovery.entry import Kind
from pollect.discovery.guess import closest
from pollect.errors import PluginLoadError, UnknownPlugin, describe
from pollect.plugin import Source, Writer

_NEW_STYLE: dict[Kind, type[Any]] = {"source": Source, "writer": Writer}


def find_extension(
    type_name: str, kind: Kind, search: Sequence[Path]
) -> type[Source[Any]] | type[Writer[Any]]:
    """Return the class that a type with a dot means.

    The package named in the type is looked for in the folders of `search`, then on the import path;
    everything else that the extension imports is looked for in `search` last. Raises
    `UnknownPlugin`, listing everything tried, and `PluginLoadError` when the module fails.
    """
    if not all(part.isidentifier() for part in type_name.split(".")):
        raise UnknownPlugin(type_name, kind, "an extension is named folder.Name")
    folders = [folder.resolve() for folder in search]
    importlib.invalidate_caches()  # the file may be younger than the process
    _append_to_import_path(folders)
    parent, _, name = type_name.rpartition(".")
    suffix = kind.title()
    names = list(dict.fromkeys((f"{name}{suffix}", name)))
    try:
        _import_package(parent.partition(".")[0], folders)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever runs at import may raise anything
        raise _load_error(type_name, parent.partition(".")[0], error) from error

    tried: list[str] = []
    for module_name in (f"{parent}.{last}" for last in names):
        module = _import_module(type_name, module_name)
        if module is None:
            tried += _places_of(module_name, folders)
            continue
        for class_name in names:
            if hasattr(module, class_name):
                return _usable(type_name, kind, module, class_name)
        tried.append(f"{module.__file__} (no class {' or '.join(names)})")
    raise UnknownPlugin(type_name, kind, _explain(type_name, kind, folders, tried))


def _explain(type_name: str, kind: Kind, folders: Sequence[Path], tried: Sequence[str]) -> str:
    """Return what was probably meant, else what to write, and what was tried."""
    suffix = kind.title()
    there = {
        f"{file.parent.name}.{file.stem.removesuffix(suffix)}"
        for folder in folders
        for file in folder.glob("*/*.py")
        if file.stem.isidentifier() and not file.stem.startswith("_")
    }
    guess = closest(type_name, sorted(there - {type_name}))
    package, _, name = type_name.rpartition(".")
    cure = f"write a class {name} in {package.replace('.', '/')}/{name}.py beside the config"
    if guess:
        cure = f"did you mean {guess!r}?"
    elif type_name in there:
        cure = f"name the class {name} or {name}{suffix}"
    return f"{cure}; tried {', '.join(tried)}"


def _append_to_import_path(folders: Sequence[Path]) -> None:
    """Let extensions import what lies beside them, behind everything that is installed."""
    known = {str(Path(entry or ".").resolve()) for entry in sys.path}
    sys.path += [str(folder) for folder in folders if str(folder) not in known]


def _import_package(name: str, folders: Sequence[Path]) -> None:
    """Import the package `name` with the parts of it that lie in `folders` before all others."""
    module = sys.modules.get(name) or _load_package(name, folders)
    beside = [str(folder / name) for folder in folders if (folder / name).is_dir()]
    if module is None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        sys.modules[name] = module
    if beside and hasattr(module, "__path__"):
        others = [part for part in module.__path__ if part not in beside]
        module.__path__ = [*beside, *others]


def _load_package(name: str, folders: Sequence[Path]) -> ModuleType | None:
    """Return a package that has an `__init__.py`; None for one without, or for none at all."""
    spec = PathFinder.find_spec(name, [str(folder) for folder in folders])
    if spec is None or spec.loader is None:
        spec = PathFinder.find_spec(name)
    if spec is None:
        return None
    if spec.loader is None:
        return importlib.import_module(name)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(type_name: str, module_name: str) -> ModuleType | None:
    """Import a module; None if there is no such file."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            return None
        raise _load_error(type_name, module_name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _load_error(type_name, module_name, error) from error


def _load_error(type_name: str, module_name: str, error: BaseException) -> PluginLoadError:
    place = _place_of(error)
    where = f" ({place})" if place else ""
    return PluginLoadError(f"{type_name}: importing {module_name} failed: {describe(error)}{where}")


def _place_of(error: BaseException) -> str:
    """Return file and line of an error, as far as they are not in its text."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _places_of(module_name: str, folders: Sequence[Path]) -> Iterator[str]:
    relative = Path(*module_name.split(".")).with_suffix(".py")
    yield from (str(folder / relative) for folder in folders)
    yield f"{module_name} on the import path"


def _usable(
    type_name: str, kind: Kind, module: ModuleType, class_name: str
) -> type[Source[Any]] | type[Writer[Any]]:
    """Return a class as the engine needs it."""
    found = getattr(module, class_name)
    new_style = _NEW_STYLE[kind]
    if isinstance(found, type):
        if issubclass(found, new_style):
            return found
        # Deriving from the class of 1.x has loaded its module.
        old_style = sys.modules.get(f"pollect.legacy.{kind}")
        if old_style is not None and issubclass(found, getattr(old_style, new_style.__name__)):
            from pollect.legacy import adapter

            adapted: type[Any] = getattr(adapter, f"adapt_{kind}")(found)
            return adapted
    raise PluginLoadError(
        f"{type_name}: {class_name} in {module.__file__} is not a class derived from "
        f"pollect.api.{new_style.__name__}"
    )
