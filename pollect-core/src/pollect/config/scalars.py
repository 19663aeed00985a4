"""Numbers, booleans and texts of a config, however the file writes them."""

import enum
import math
import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import inspect
from msgspec.inspect import Type

from pollect.config.document import scalar_text
from pollect.config.environment import Filled
from pollect.config.words import allowed_values, item_types
from pollect.errors import PluginLoadError
from pollect.plugin import Secret

_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))


class Wrong(enum.Enum):
    """What a conversion returns that failed; None is a value."""

    WRONG = enum.auto()


WRONG: Final = Wrong.WRONG


def convert_scalar(kind: Type, value: Any, written: str | None = None) -> Any:
    """Return a single value as `kind`, or WRONG.

    `written` is how the file writes a number or boolean, where Python would write it differently.
    """
    if not isinstance(value, str | int | float):
        return WRONG
    text = str(value) if isinstance(value, str) else written or scalar_text(value)
    match kind:
        case inspect.BoolType():
            return boolean(value)
        case inspect.IntType() | inspect.FloatType():
            return _number(kind, value)
        case inspect.LiteralType() | inspect.EnumType():
            return _allowed_value(kind, text)
        case inspect.StrType():
            if isinstance(value, bool) and text.lower() in ("true", "false"):
                text = text.lower()  # the boolean of the file format; `yes` and `off` are words
            return text if _fits(kind, text) else WRONG
        case inspect.CustomType(cls=cls) if cls is Secret:
            return Secret(text)
        case inspect.StructType() | inspect.DictType():
            return WRONG
    if item_types(kind) is not None:
        return WRONG
    name = getattr(getattr(kind, "cls", None), "__name__", "") or type(kind).__name__
    raise PluginLoadError(f"{name.removesuffix('Type').lower()} cannot be the type of an option")


def scalar_type(candidates: Sequence[Type], value: Any, written: str | None) -> Type | None:
    """Return the member of a union that `value` is meant to be, None if none takes it."""
    exact = [kind for kind in candidates if _is_exactly(kind, value)]
    if exact:
        return min(exact, key=_narrowness)
    takes = (kind for kind in candidates if convert_scalar(kind, value, written) is not WRONG)
    return next(takes, None)


def _is_exactly(kind: Type, value: Any) -> bool:
    match kind:
        case inspect.BoolType():
            # A variable cannot hold a boolean; who writes the word there means one.
            return isinstance(value, bool) or (
                isinstance(value, Filled) and value.lower() in ("true", "false")
            )
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(kind, inspect.StrType) and isinstance(value, str)


def _narrowness(kind: Type) -> int:
    """Rank the members of a union that may all be exactly right; the lowest wins."""
    order = (inspect.BoolType, inspect.IntType, inspect.FloatType)
    return order.index(type(kind)) if type(kind) in order else len(order)


def boolean(value: str | int | float) -> Any:
    """Return the boolean that `value` is or says, or WRONG."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else WRONG


def _number(kind: inspect.IntType | inspect.FloatType, value: str | int | float) -> Any:
    if isinstance(value, bool):
        return WRONG
    try:
        number = float(value)
        if isinstance(kind, inspect.IntType):
            number = _whole(value)
    except (ValueError, OverflowError):
        return WRONG
    within = (
        (kind.gt is None or number > kind.gt)
        and (kind.ge is None or number >= kind.ge)
        and (kind.lt is None or number < kind.lt)
        and (kind.le is None or number <= kind.le)
    )
    return number if within and math.isfinite(number) else WRONG


def _whole(value: str | int | float) -> int:
    """Return the integer that `value` is or says; raises `ValueError` for `1.5`."""
    if isinstance(value, str) and "." not in value:
        return int(value)
    whole = int(float(value)) if not isinstance(value, int) else value
    if whole != float(value):
        raise ValueError(value)
    return whole


def _allowed_value(kind: Type, text: str) -> Any:
    for allowed in allowed_values(kind):
        if str(allowed) == text:
            return kind.cls(allowed) if isinstance(kind, inspect.EnumType) else allowed
    return WRONG


def _fits(kind: inspect.StrType, text: str) -> bool:
    return (
        len(text) >= (kind.min_length or 0)
        and (kind.max_length is None or len(text) <= kind.max_length)
        and (kind.pattern is None or re.search(kind.pattern, text) is not None)
    )
