"""Finds a config file and reads it, whichever of the two formats it has."""

import functools
from pathlib import Path

from pollect.config.document import Document
from pollect.config.files import Unreadable, read_text
from pollect.errors import ConfigError

#: A config of this size has some 40,000 sources: a larger file is probably not a config.
LARGEST_BYTES = 8_000_000
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


def read_document(file: Path, *, pipes: bool = True) -> Document:
    """Read a config file together with the files it includes; raises what `read_file` raises.

    What is wrong with an included file is in the `problems` of the result.
    """
    document = read_file(file, pipes=pipes)
    if not (isinstance(document.data, dict) and "include" in document.data):
        return document
    from pollect.config.include import add_included

    return add_included(document, functools.partial(read_file, pipes=pipes))


def read_file(file: Path, *, pipes: bool = True) -> Document:
    """Read one file; without `pipes` a regular one only.

    JSON if the name ends in `.json`, YAML if it ends in `.yml` or `.yaml`, otherwise whatever the
    text looks like. Raises `ConfigError` with line and column when it cannot be read.
    """
    try:
        text = read_text(file, most_bytes=LARGEST_BYTES, pipes=pipes)
    except Unreadable as error:
        raise ConfigError(f"cannot be read: {error}", file=file) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8 text", file=file, line=line) from error
    looks_like_json = file.suffix not in (".yml", ".yaml") and text.lstrip().startswith("{")
    if file.suffix == ".json" or looks_like_json:
        from pollect.config.json_reader import JsonReader

        return JsonReader(file, text).read()
    from pollect.config.yaml_reader import YamlReader

    return YamlReader(file, text).read()
