"""pollect 1.x in the same environment: it owns the import package `pollect` as well."""

from pollect.errors import PluginError

OLD_NAME = "pollect"


def refuse_old_distribution() -> None:
    """Raise `PluginError` when the distribution of pollect 1.x is installed too.

    Each of the two overwrites files of the other, so nothing that runs can be relied on.
    """
    # Here, because `pollect --version` does without it.
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
