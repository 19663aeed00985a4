"""Source `MdRaid`: state of Linux software RAID arrays.

Read from `/proc/mdstat` (md(4)). Cost of a probe: one small file. An array looks like this::

    md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]
          195310144 blocks [2/1] [U_]
          [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min ...

`(F)` marks a failed and `(S)` a spare disk; `[2/1]` is how many disks the array needs and has.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pollect.api import (
    Alert,
    BadResponse,
    Headline,
    Metric,
    NoData,
    Panel,
    Sample,
    Source,
    SourceConfig,
    TargetUnavailable,
)
from pollect_sources_system.kernel import read_text

BYTES_PER_BLOCK = 1024
#: What an array does, as far as the kernel shows it.
STATES = ("active", "inactive", "recovery", "resync", "reshape", "check")

DISKS = Metric(
    "disks",
    help="Disks of the array, by state: active, failed or spare.",
    unit="disks",
    labels=("array", "state"),
    alert=Alert(
        "ArrayDiskFailed", "a disk of the array failed", above=0, labels={"state": "failed"}
    ),
)
REQUIRED = Metric(
    "disks_required", help="Disks the array needs to be whole.", unit="disks", labels=("array",)
)
DEGRADED = Metric(
    "degraded",
    help="1 if the array lacks a disk or does not run, else 0.",
    labels=("array",),
    headline=Headline("array"),
    alert=Alert("ArrayDegraded", "the array lacks a disk or does not run", above=0),
    panel=Panel(states={0: "whole", 1: "degraded"}, good=(0,), bad=(1,)),
)
STATE = Metric(
    "state", help="1 for what the array does now, 0 for the rest.", labels=("array", "state")
)
SIZE = Metric("size_bytes", help="Size of the array in bytes.", unit="bytes", labels=("array",))
SYNC = Metric(
    "sync_ratio",
    help="How much of a recovery, resync, reshape or check is done; absent when there is none.",
    unit="ratio",
    labels=("array",),
    headline=Headline("synchronized"),
    panel=Panel(minimum=0, maximum=1),
)


class MdRaidSource(Source[SourceConfig]):
    """Disks, state and progress of every software RAID array."""

    metrics = (DISKS, REQUIRED, DEGRADED, STATE, SIZE, SYNC)

    def probe(self) -> Iterable[Sample]:
        try:
            text = read_text(self.context.roots.proc / "mdstat")
        except FileNotFoundError as error:
            raise NoData("this host has no software RAID") from error
        except OSError as error:
            raise TargetUnavailable(f"cannot read the RAID state: {error}") from error
        samples: list[Sample] = []
        found: set[str] = set()
        for head, body in split_mdstat(text):
            name = head["name"]
            found.add(name)
            with self.troubles.part(name):
                array = parse_array(head, body)
                samples += array_samples(array)
                if array.is_degraded:
                    state = "degraded" if head["state"] in STATES else head["state"]
                    raise BadResponse(f"{state}, {array.active} of {array.wanted} disks")
        self.troubles.keep(found)
        if found and not samples:
            raise BadResponse(str(self.troubles))
        return samples


@dataclass(frozen=True, slots=True)
class Array:
    """One array of `/proc/mdstat`."""

    name: str
    running: bool
    #: Disks that are neither failed nor spare.
    active: int
    failed: int
    spare: int
    #: None for arrays that can spare no disk, which show no such number.
    required: int | None
    size_bytes: int
    #: One of `STATES`.
    state: str
    #: How much of it is done, from 0 to 1; None where there is nothing to do or it waits.
    progress: float | None
    #: It only holds the metadata of other arrays (IMSM, DDF) and is never active itself.
    container: bool

    @property
    def wanted(self) -> int:
        """How many disks it should have."""
        return self.active + self.failed if self.required is None else self.required

    @property
    def is_degraded(self) -> bool:
        return self.active < self.wanted or not (self.running or self.container)


def array_samples(array: Array) -> Iterable[Sample]:
    """Return the samples of one array."""
    name = array.name
    yield DISKS.sample(array.active, name, "active")
    yield DISKS.sample(array.failed, name, "failed")
    yield DISKS.sample(array.spare, name, "spare")
    yield REQUIRED.sample(array.wanted, name)
    yield DEGRADED.sample(float(array.is_degraded), name)
    for state in STATES:
        yield STATE.sample(float(state == array.state), name, state)
    yield SIZE.sample(array.size_bytes, name)
    if array.progress is not None:
        yield SYNC.sample(array.progress, name)


#: Any word may stand for the state: newer kernels have one for arrays without redundancy that lost
#: a disk. The first line of the file looks alike, but lists what is in brackets.
_HEAD = re.compile(r"(?!Personalities )(?P<name>\S+) : (?P<state>[a-z]+)\b(?P<rest>.*)")
_DISK = re.compile(r"\S+\[\d+\](?P<marks>(?:\([A-Z]\))*)")
_BLOCKS = re.compile(r"(?<!\d)(?P<blocks>\d{1,18}) blocks\b")
_COUNTS = re.compile(r"\[(?P<required>\d{1,9})/(?P<active>\d{1,9})\]")
_ACTION = re.compile(r"\b(?P<action>recovery|resync|reshape|check)\s*=")
#: Absent while the action waits for another array, or for the first write.
_PROGRESS = re.compile(r"\((?P<done>\d{1,18})/(?P<all>\d{1,18})\)")
_CONTAINER = re.compile(r"\bsuper external:[^/]")


def split_mdstat(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the first line of each array in `/proc/mdstat`, matched, and the lines below it."""
    for block in re.split(r"\n\s*\n|\n(?=\S)", text):
        head, _, body = block.strip().partition("\n")
        if match := _HEAD.match(head):
            yield match, body


def parse_array(head: re.Match[str], body: str) -> Array:
    """Return one array; raises `BadResponse` when its size is missing."""
    blocks = _BLOCKS.search(body)
    if blocks is None:
        raise BadResponse(f"expected the blocks of {head['name']}, got {body[:80]!r}")
    marks = [disk["marks"] for disk in _DISK.finditer(head["rest"])]
    failed = sum("(F)" in mark for mark in marks)
    spare = sum("(S)" in mark for mark in marks)
    counts = _COUNTS.search(body)
    action = _ACTION.search(body)
    progress = _PROGRESS.search(body)
    running = head["state"] == "active"
    return Array(
        name=head["name"],
        running=running,
        active=int(counts["active"]) if counts and running else len(marks) - failed - spare,
        failed=failed,
        spare=spare,
        required=int(counts["required"]) if counts else None,
        size_bytes=int(blocks["blocks"]) * BYTES_PER_BLOCK,
        state=action["action"] if action else head["state"],
        progress=_ratio(progress) if action and progress else None,
        container=_CONTAINER.search(body) is not None,
    )


def _ratio(progress: re.Match[str]) -> float | None:
    whole = int(progress["all"])
    return int(progress["done"]) / whole if whole else None
