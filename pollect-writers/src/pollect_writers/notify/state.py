"""What outlives a restart: the incidents people know of, and messages that are still to be sent.

Neither addresses nor passwords are in the file. A file that cannot be read is no reason to be
silent: one begins afresh and says so.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from pollect.support.private_files import read_private, write_private
from pollect_writers.notify.incidents import Incident
from pollect_writers.notify.messages import Message

#: An incident that was not reported yet is forgotten when pollect was away for longer: whether
#: it lasted meanwhile is not known.
PENDING_SECONDS = 3600.0
_LARGEST_BYTES = 16 * 1024 * 1024


class _Stored(msgspec.Struct):
    #: Unix time.
    saved: float
    incidents: list[Incident] = []
    messages: list[Message] = []
    next_number: int = 1


class Kept(msgspec.Struct):
    """What was read, with times on the clock of this process."""

    incidents: Sequence[Incident] = ()
    messages: Sequence[Message] = ()
    next_number: int = 1


def read_state(file: Path, *, now: float, wall: float, log: logging.Logger) -> Kept:
    """Return what a file holds; `now` is monotonic, `wall` Unix time, both of this moment."""
    try:
        stored = msgspec.json.decode(read_private(file, max_bytes=_LARGEST_BYTES), type=_Stored)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("%s: cannot be read, alerts start over: %s", file, error)
        return Kept()
    # A clock that was set back makes nothing younger than it is.
    away = max(0.0, wall - stored.saved)
    incidents = [one for one in stored.incidents if one.announced or away <= PENDING_SECONDS]
    for incident in incidents:
        incident.began += now - away
        incident.sent += now - away
        incident.due = None if incident.due is None else incident.due + now - away
        # Whether it is still over is to be seen again.
        incident.over = None
    return Kept(incidents, stored.messages, stored.next_number)


def write_state(
    file: Path,
    incidents: Iterable[Incident],
    messages: Iterable[Message],
    next_number: int,
    *,
    now: float,
    wall: float,
) -> None:
    """Replace the file. Times are kept as seconds before this moment. Raises `OSError`."""
    relative = [
        msgspec.structs.replace(
            one,
            began=one.began - now,
            sent=one.sent - now,
            due=None if one.due is None else one.due - now,
            over=None,
        )
        for one in incidents
    ]
    stored = _Stored(wall, relative, list(messages), next_number)
    write_private(file, msgspec.json.encode(stored))
