"""Where the spools of writers lie, and which of them no writer empties any more."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pollect.delivery.spool.folder import STATE, SpoolFolder
from pollect.plugin import Writer

SPOOL_FOLDER = "spool"
#: Of files of the format before.
OLD_SUFFIX = ".sqlite"


def spool_folder(writer: Writer[Any]) -> Path:
    """Return the folder for a writer, named after its type and what it calls its target.

    Samples for one target never go to another one, whatever becomes of the order of writers in
    the config, and an option that does not change the target leaves them where they are.
    """
    return spool_path(writer, repr(writer.target_identity()))


def spool_path(writer: Writer[Any], target: str) -> Path:
    import hashlib  # OpenSSL, 4 MB, for those alone who have a spool

    digest = hashlib.blake2b(target.encode(errors="replace"), digest_size=4).hexdigest()
    return writer.context.state_dir / SPOOL_FOLDER / f"{writer.config.type}-{digest}"


def left_over(state_dir: Path, writers: Iterable[Writer[Any]]) -> list[Path]:
    """Return the spools in a state folder that none of the writers uses, by name."""
    folder = state_dir / SPOOL_FOLDER
    found = {state.parent for state in folder.glob(f"*/{STATE}")}
    found.update(folder.glob(f"*{OLD_SUFFIX}"))
    if found:
        found -= {spool_folder(w) for w in writers if w.config.spool and not w.latest_only}
    return sorted(found)


def describe_contents(spool: Path) -> str:
    """Say what a spool that is left over holds; empty if nothing, or if another daemon has it."""
    try:
        if spool.suffix == OLD_SUFFIX:
            return f"{spool.stat().st_size / 1e6:.1f} MB"
        folder = SpoolFolder(spool)
        samples = sum(record.samples for record, _ in folder.open()[0])
        folder.close()
    except OSError:
        return ""  # it is gone meanwhile, or in use
    return f"{samples} samples" if samples else ""
