"""Last answers of inventories, kept for a start at which a server is away.

A daemon touches those that it uses once a day. So others that share its state folder can see which
are still of use, although an answer that stays the same is not written again.
"""

import logging
import os
import re
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

#: Seconds between two touches of an answer that is in use.
TOUCH_SECONDS = 86_400.0
#: Seconds after which an answer that no daemon has touched is of no use to any.
OLD_SECONDS = 30 * 86_400.0
_NAME = re.compile(r"targets-[0-9a-f]{16}\.json")

log = logging.getLogger(__name__)


def answer_file(state_dir: Path, user: str, url: str) -> Path:
    """Return where the last answer of a URL is kept for a user."""
    import hashlib  # OpenSSL, which a daemon without inventories does not need

    digest = hashlib.blake2b(f"{user}\0{url}".encode(), digest_size=8).hexdigest()
    return state_dir / f"targets-{digest}.json"


def touch(file: Path) -> None:
    """Note that an answer is in use; one that is gone is written with the next one."""
    with suppress(OSError):
        os.utime(file)


def remove_old_answers(state_dir: Path, used: Collection[Path], now: float) -> None:
    """Remove answers that no config names, once they are old at the Unix time `now`.

    Only files of this user, called as pollect calls them, are looked at.
    """
    with suppress(OSError):  # no folder, nothing to remove
        for file in sorted(state_dir.iterdir()):
            if not _NAME.fullmatch(file.name) or file in used:
                continue
            found = file.lstat()
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if ours and now - found.st_mtime > OLD_SECONDS:
                file.unlink()
                log.info("removed %s: no inventory has used it for 30 days", file)
