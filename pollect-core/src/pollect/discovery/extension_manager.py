"""stevedore's `ExtensionManager`, imported without OpenSSL.

stevedore hashes the import path for a cache file that pollect does not use. The `hashlib` it
imports for that loads OpenSSL: 3.7 MB that stay resident in every daemon. Python's built-in hashes
do as well here. Whoever imports `hashlib` later gets the complete one.
"""

import sys


def _import_stevedore() -> None:
    if "hashlib" in sys.modules:
        import stevedore.extension

        return
    # None in this place makes an import fail, upon which hashlib takes the built-in hashes.
    sys.modules["_hashlib"] = None  # type: ignore[assignment]
    try:
        import stevedore.extension  # noqa: F401
    finally:
        del sys.modules["_hashlib"]
        sys.modules.pop("hashlib", None)


_import_stevedore()

from stevedore.extension import ExtensionManager  # noqa: E402 - only now without OpenSSL

__all__ = ["ExtensionManager"]
