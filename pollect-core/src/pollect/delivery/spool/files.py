"""Where the spools of writers lie, and which of them no writer empties any more."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pollect.plugin import Writer, WriterConfig

SPOOL_FOLDER = "spool"

#: Options that do not say where the samples go.
_NOT_THE_TARGET = frozenset({"buffer", "spool", "self_metrics", "timeout"})
_IDENTITY_BYTES = 4
#: Counting reads the whole file: a larger one would hold up the start on an SD card.
_COUNTED_BYTES = 16 * 1024 * 1024


def spool_file(writer: Writer[Any]) -> Path:
    """Return the file for a writer, named after its type and where it delivers to.

    Samples for one target never go to another one, whatever becomes of the order of writers in
    the config. Secrets do not take part.
    """
    import hashlib  # only for those who have a spool

    config: WriterConfig = writer.config
    target = [
        (name, repr(getattr(config, name)))
        for name in config.__struct_fields__
        if name not in _NOT_THE_TARGET
    ]
    digest = hashlib.blake2b(repr(target).encode(), digest_size=_IDENTITY_BYTES).hexdigest()
    return writer.context.state_dir / SPOOL_FOLDER / f"{config.type}-{digest}.sqlite"


def left_over(state_dir: Path, writers: Iterable[Writer[Any]]) -> list[Path]:
    """Return the spools in a state folder that none of the writers uses, by name."""
    found = set((state_dir / SPOOL_FOLDER).glob("*.sqlite"))
    if found:
        found -= {spool_file(w) for w in writers if w.config.spool and not w.latest_only}
    return sorted(found)


def describe_contents(file: Path) -> str:
    """Say what a spool that is left over holds; empty if nothing, or if another daemon has it.

    Tells the samples of a small file and the megabytes of a large one.
    """
    import sqlite3  # only for those who have such a file

    place = f"{file.absolute().as_uri()}?mode=rw"
    try:
        size = file.stat().st_size
        with contextlib.closing(sqlite3.connect(place, timeout=0, uri=True)) as database:
            # No files beside it are made, and those of a crash are worked in and removed.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            if database.execute("SELECT 1 FROM batch LIMIT 1").fetchone() is None:
                return ""
            if size <= _COUNTED_BYTES:
                (samples,) = database.execute("SELECT sum(samples) FROM batch").fetchone()
                return f"{samples} samples"
    except FileNotFoundError:
        return ""  # it is gone meanwhile
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return ""
    return f"{size / 1e6:.1f} MB"
