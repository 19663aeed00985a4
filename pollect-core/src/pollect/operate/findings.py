"""What a check of the machine may find."""

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """How serious a finding is."""

    FINE = "ok"
    #: Less than possible, or worth a look; nothing fails because of it.
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    state: State
    #: The source, writer or part of the machine in question.
    subject: str
    what: str
    #: What to do about it; empty if nothing is to be done.
    cure: str = ""
    #: A package or program is missing, which is another exit code.
    missing: bool = False
