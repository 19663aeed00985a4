"""pollect 1.x in the same environment: it owns the import package `pollect` as well."""

import os
import sys

from pollect.errors import PluginError

OLD_NAME = "pollect"


def refuse_old_distribution() -> None:
    """Raise `PluginError` when the distribution of pollect 1.x is installed too.

    Each of the two overwrites files of the other, so nothing that runs can be relied on.
    """
    if not _may_be_installed():
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(OLD_NAME)
    except PackageNotFoundError:
        return
    raise PluginError(
        f"the distribution {OLD_NAME} {found} (pollect 1.x) is installed in the same environment "
        "and overwrites parts of pollect-core: pip uninstall -y pollect && "
        "pip install --force-reinstall --no-deps pollect-core"
    )


def _may_be_installed() -> bool:
    """Look for the folder of its metadata: importing what would read it costs a daemon 2 MB."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # an archive, or a folder that is not there
        for name in names:
            if name.startswith((f"{OLD_NAME}-", f"{OLD_NAME}.")) and name.endswith("-info"):
                return True
    return False
