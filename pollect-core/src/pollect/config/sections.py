"""One plugin section of the config: plain data -> the plugin's typed config."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from pollect.plugin import Secret

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def convert_section(config_type: type[ConfigT], section: Mapping[str, Any]) -> ConfigT:
    """Return `section` as `config_type`; raises `msgspec.ValidationError`."""
    return msgspec.convert(dict(section), config_type, strict=False, dec_hook=_decode)


def _decode(wanted: type, value: object) -> object:
    if wanted is Secret:
        return Secret(str(value))
    raise NotImplementedError(wanted)
