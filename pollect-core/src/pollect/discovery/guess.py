"""Which type somebody meant who wrote another word."""

from collections.abc import Iterable

#: Fewer letters than these say nothing about what is meant.
SHORTEST_WORD = 3


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant: the same in another case, or one alike."""
    from difflib import get_close_matches  # a mistake is rare, and this costs memory

    folded = {name.lower(): name for name in known}
    wanted = word.lower()
    # Whoever writes `Tcp` means `TcpTime` rather than `Cpu`.
    longer = [name for name in folded if name.startswith(wanted)]
    if wanted not in folded and longer and len(wanted) >= SHORTEST_WORD:
        return folded[min(longer, key=len)]
    matches = get_close_matches(word.lower(), folded, 1)
    return folded[matches[0]] if matches else None
