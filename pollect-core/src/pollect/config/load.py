"""Finds a config file and reads it, with every mistake reported at once."""

import os
from collections.abc import Mapping
from pathlib import Path

from pollect.config.config import Config
from pollect.config.document import Document
from pollect.config.lookup import TypeLookup
from pollect.config.problems import Problems
from pollect.config.reading import read_document
from pollect.config.root import read_root
from pollect.errors import ConfigError, InvalidConfig

#: What may be left out of a config's name; the first that exists counts.
SUFFIXES = (".yml", ".yaml", ".json")


def find_config(name: str) -> Path:
    """Return the config file that `name` means: itself, or with a suffix left out.

    Raises `ConfigError` with the names that were tried, or why one cannot be looked at.
    """
    exact = Path(name)
    tried = [exact]
    if exact.name and exact.suffix not in SUFFIXES:
        tried += [exact.with_name(exact.name + suffix) for suffix in SUFFIXES]
    for file in tried:
        try:
            if file.exists() and not file.is_dir():  # a pipe is as good
                return file
        except OSError as error:  # a folder that is not ours to look into, a name that is too long
            raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
    if exact.is_dir():
        raise ConfigError("is a directory, expected a file", file=exact)
    raise ConfigError(f"no config file, tried {', '.join(map(str, tried))}")


def load_config(
    file: Path,
    types: TypeLookup,
    *,
    environ: Mapping[str, str] = os.environ,
    document: Document | None = None,
) -> Config:
    """Return the config of a file, out of `document` if that was read already.

    Raises `InvalidConfig` with all its mistakes, in the order of the file, warnings among them. A
    problem that comes from a `PluginError` has it as its `__cause__`.
    """
    config, problems = read_sound(file, types, environ=environ, document=document)
    if config is None or problems.errors:
        raise InvalidConfig(problems.all(), warnings=problems.warnings)
    return config


def read_sound(
    file: Path,
    types: TypeLookup,
    *,
    environ: Mapping[str, str] = os.environ,
    document: Document | None = None,
) -> tuple[Config | None, Problems]:
    """Return those parts of a config that are right by themselves, and all mistakes of the rest.

    There is no config at all if the file is not even a mapping.
    """
    try:
        document = document or read_document(file)
    except ConfigError as error:
        problems = Problems()
        problems.errors.append(error)
        return None, problems
    problems = Problems(document)
    problems.errors += document.problems
    problems.warnings += document.duplicates
    return read_root(document, file, types, environ, problems), problems
