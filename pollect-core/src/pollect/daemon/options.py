"""The options of a source as a page may show them: secrets and what may hold one become `***`."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pollect.plugin import Secret, is_default
from pollect.status import Option
from pollect.support.urls import redact_url

HIDDEN = "***"
#: Characters of one value that are shown.
LONGEST = 300
#: Options whose text may be a secret although they are not declared as one.
_SECRET_NAMES = re.compile(
    "passw|passphrase|secret|token|key|credential|auth|cookie|header|community|pin$|body|session",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s,'\"]+", re.IGNORECASE)


def describe_options(config: msgspec.Struct) -> list[Option]:
    """Return the options of a section as named in the config, those set first."""
    options = []
    for field in msgspec.structs.fields(config):
        if field.name == "type":
            continue
        value = _hidden(field.encode_name, getattr(config, field.name))
        text = value if isinstance(value, str) else _text(value)
        short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        default = is_default(field, config)
        options.append(Option(name=field.encode_name, value=short, default=default))
    return sorted(options, key=lambda option: option.default)


def _hidden(name: str, value: Any) -> Any:
    """Return a value as plain data without its secrets."""
    match value:
        case None | bool() | int() | float():
            return value
        case Secret():
            return HIDDEN if value else ""
        case str():
            if value and _SECRET_NAMES.search(name):
                return HIDDEN
            return _URL.sub(lambda found: redact_url(found[0]), value)
        case msgspec.Struct():
            fields = msgspec.structs.fields(value)
            return {f.encode_name: _hidden(f.encode_name, getattr(value, f.name)) for f in fields}
        case Mapping():
            # What is secret by the name of the whole is so in each part.
            inherited = name if _SECRET_NAMES.search(name) else ""
            return {str(key): _hidden(f"{inherited} {key}", part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_hidden(name, part) for part in value]
        case _:
            return f"({type(value).__name__})"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()
