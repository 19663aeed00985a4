"""The library psutil, imported when the first source that needs it opens."""

from types import ModuleType

from pollect.api import Roots


def load_psutil(roots: Roots) -> ModuleType:
    """Return psutil, set to where the kernel's process files are mounted."""
    import psutil

    psutil.PROCFS_PATH = str(roots.proc)
    return psutil
