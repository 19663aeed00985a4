"""What is to be allowed on behalf of sources and writers, each with those that need it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

#: What is allowed -> the labels of those that need it.
Grant: TypeAlias = dict[str, list[str]]


@dataclass
class Grants:
    """What a unit and a container alike may have to allow."""

    capabilities: Grant = field(default_factory=dict)
    devices: Grant = field(default_factory=dict)
    groups: Grant = field(default_factory=dict)
    #: Those that need the system bus.
    bus: list[str] = field(default_factory=list)


def grant(grants: Grant, what: str, label: str) -> None:
    """Note that the source or writer with this label needs something."""
    labels = grants.setdefault(what, [])
    if label not in labels:
        labels.append(label)


def joined(labels: Iterable[str]) -> str:
    """Return who needs something, each once, for a comment of one line."""
    return ", ".join(dict.fromkeys(" ".join(label.split()) for label in labels))
