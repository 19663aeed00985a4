"""`ConfigContainer` of pollect 1.x: a section of the config as an extension sees it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pollect.config.environment import Environment, Unset
from pollect.errors import ConfigError


class MissingOption(ConfigError, KeyError):
    """An option was read that is not there, or refers to a variable that is not set."""


class ConfigContainer(Mapping[str, Any]):
    """Read-only options. `${NAME}` in a text is filled in when it is read.

    Mappings inside come as containers too, at any depth. Two containers with the same content are
    equal.
    """

    def __init__(self, data: Mapping[str, Any], *, filled_in: bool = False) -> None:
        """`filled_in`: the texts are final, `$` means nothing in them."""
        self._data = data
        self._filled_in = filled_in

    def __getitem__(self, key: str) -> Any:
        return self.get(key, required=True)

    def get(  # the signature that extensions know
        self,
        key: str,
        default: Any = None,
        required: bool = False,
        ignore_missing_env: str | None = None,
    ) -> Any:
        """Return an option, or `default` if it is missing or null.

        `${ignore_missing_env}` stays in the text. Raises `KeyError` when a variable is not set, or
        when the option is `required` and missing.
        """
        if required and key not in self._data:
            raise MissingOption("option is missing", key=key)
        # Not `get`, which would take a variable that is not set for an option that is missing.
        value = self._data[key] if key in self._data else None  # noqa: SIM401
        return default if value is None else self._open(value, key, ignore_missing_env)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ConfigContainer):
            other = other._data
        return isinstance(other, Mapping) and dict(self._data) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __repr__(self) -> str:
        return f"ConfigContainer({', '.join(map(str, self._data))})"

    def _open(self, value: Any, key: str, keep: str | None) -> Any:
        if isinstance(value, str) and not self._filled_in:
            return self._fill(value, key, keep)
        if isinstance(value, Mapping) and not isinstance(value, ConfigContainer):
            return ConfigContainer(value, filled_in=self._filled_in)
        if isinstance(value, list):
            return [self._open(item, key, keep) for item in value]
        return value

    def _fill(self, text: str, key: str, keep: str | None) -> str:
        environment = Environment(os.environ, Path.cwd())
        filled = environment.fill(text, (keep,) if keep else ())
        if isinstance(filled, Unset):
            raise MissingOption(filled.problem, key=key, hint=filled.hint)
        return str(filled)
