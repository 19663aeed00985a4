"""Reads a config file, with every mistake reported at once."""

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
