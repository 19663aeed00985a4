"""Where the spools of writers lie, and which of them no writer empties any more."""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pollect.delivery.spool import STATE
from pollect.plugin import Writer
from pollect.plugin.traits import has_trait

_SPOOLS = "spool"


def spool_folder(writer: Writer[Any]) -> Path:
    """Return the folder for a writer, named after its type and what it calls its target.

    Samples for one target never go to another one, whatever becomes of the order of writers in
    the config, and an option that does not change the target leaves them where they are.
    """
    target = zlib.crc32(repr(writer.target_identity()).encode(errors="replace"))
    return writer.context.state_dir / _SPOOLS / f"{writer.config.type}-{target:08x}"


def left_over(state_dir: Path, writers: Iterable[Writer[Any]]) -> Iterator[tuple[Path, int]]:
    """Yield the spools in a state folder that no process uses, and how many samples wait there."""
    found = {state.parent for state in (state_dir / _SPOOLS).glob(f"*/{STATE}")}
    if not found:
        return
    from pollect.delivery.spool.folder import SpoolFolder

    used = {spool_folder(w) for w in writers if w.config.spool and not has_trait(w, "latest_only")}
    for folder in sorted(found - used):
        spool = SpoolFolder(folder)
        with contextlib.suppress(OSError):
            samples = sum(entry.samples for entry in spool.open()[0])
            spool.close()
            if samples:
                yield folder, samples
