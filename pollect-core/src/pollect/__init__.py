"""pollect: a metrics daemon in which a plugin is a pip package."""

import sys

from pollect.version import __version__

#: Type checkers take it for that of `typing`, which is not imported before Ctrl-C is handled.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["__version__"]


class _OldImportPaths:
    """Answers for modules of pollect 1.x; asked only when no other finder has a module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if not name.startswith("pollect."):
            return None
        from pollect.legacy import paths

        return paths.find_spec(name)


sys.meta_path.append(_OldImportPaths)
