"""`${target}` in the texts of a section that is repeated for targets.

=======================  =======================================================================
`${target}`              the target as its inventory writes it
`${target.host}`         its host, without brackets
`${target.port}`         its port
`${label.NAME}`          the value of its label, those that begin with `__` included
`${label.NAME:-text}`    the same, or the text where the target has no such label (or no port)
=======================  =======================================================================

What they stand for is never looked at again: a target named `${PASSWORD}` stays that text.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

from pollect.errors import ConfigError

#: Among the names that a section keeps: it is repeated for targets.
REPEATED = "${target}"
_TARGET = "target"
_PLACE = re.compile(
    r"""
    \$\$
  | \$\{ (?P<name> target (?: \. (?: host | port ) )? | label \. [A-Za-z_][A-Za-z0-9_]* )
         (?: :- (?P<default> [^}]* ) )? \}
    """,
    re.VERBOSE,
)


class Filled(str):
    """Text that came, all or in part, from a variable or a file: never quoted in a message."""

    __slots__ = ("origin",)
    #: What brought it: `${NAME}`.
    origin: str


class Place(NamedTuple):
    """Something of a target inside a text."""

    name: str
    #: What stands there where the target lacks it; None if that is a mistake.
    default: str | None


class Named(Protocol):
    """What the places stand for."""

    @property
    def address(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> str: ...

    @property
    def values(self) -> Mapping[str, str]:
        """The labels, hidden ones included."""


class Template(str):
    """Text with places for a target. The text itself is what the file says."""

    __slots__ = ("pieces",)
    pieces: tuple["str | Place", ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self.pieces == other.pieces

    __hash__ = str.__hash__

    def fill(self, target: Named) -> str:
        """Return the text for a target; raises `ConfigError` where the target lacks something."""
        text = "".join(
            piece if isinstance(piece, str) else _stands_for(piece, target) for piece in self.pieces
        )
        origins = [piece.origin for piece in self.pieces if isinstance(piece, Filled)]
        if not origins:
            return text
        filled = Filled(text)
        filled.origin = " and ".join(dict.fromkeys(origins))
        return filled

    @property
    def names_target(self) -> bool:
        return any(
            isinstance(piece, Place) and piece.name.startswith(_TARGET) for piece in self.pieces
        )


def split_text(
    text: str, fill: Callable[[str], str], keep: Collection[str] = ()
) -> list[str | Place] | None:
    """Return a text as pieces, what is not a place passed through `fill`; None without a place.

    Names in `keep` belong to the source, which fills them in itself.
    """
    pieces: list[str | Place] = []
    begin = 0
    # No place ends behind the last brace; in a long text, looking there would take minutes.
    for match in _PLACE.finditer(text, 0, text.rfind("}") + 1):
        name = match["name"]
        if name is None or (name in keep and match["default"] is None):
            continue
        if match.start() > begin:
            pieces.append(fill(text[begin : match.start()]))
        pieces.append(Place(name, match["default"]))
        begin = match.end()
    if not pieces:
        return None
    if begin < len(text):
        pieces.append(fill(text[begin:]))
    return pieces


def fill_templates(value: Any, target: Named) -> Any:
    """Return `value` with all templates in it filled in for a target."""
    if isinstance(value, Template):
        return value.fill(target)
    if isinstance(value, Mapping):
        return {key: fill_templates(item, target) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_templates(item, target) for item in value]
    return value


def templates_in(value: Any) -> list[Template]:
    """Return all templates in `value`."""
    if isinstance(value, Template):
        return [value]
    if isinstance(value, Mapping):
        return [found for item in value.values() for found in templates_in(item)]
    if isinstance(value, list):
        return [found for item in value for found in templates_in(item)]
    return []


def _stands_for(place: Place, target: Named) -> str:
    kind, _, name = place.name.partition(".")
    found: str | None
    if kind == "label":
        found = target.values.get(name)
    elif name:
        found = target.host if name == "host" else target.port
    else:
        found = target.address
    if not found:
        if place.default is None:
            what = f"no label {name!r}" if kind == "label" else f"no {name}"
            raise ConfigError(what, hint=f"write ${{{place.name}:-text}} where it may be missing")
        return place.default
    return found
