"""Spools of the format before: SQLite files with a dictionary. Read once and removed."""

import contextlib
import itertools
import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.files import OLD_SUFFIX, SPOOL_FOLDER, spool_path
from pollect.model import Batch, Kind, Metric, Sample, SourceId
from pollect.plugin import Writer, is_default

_NOT_THE_TARGET = frozenset({"buffer", "spool", "self_metrics", "timeout"})
#: Of so many options at their defaults, any may have come after an old file.
_MOST_YOUNGER = 12


class _Source(msgspec.Struct, array_like=True, tag=0):
    source: tuple[str, str, str | None, int]
    static_labels: tuple[tuple[str, str], ...]


class _Series(msgspec.Struct, array_like=True, tag=1):
    name: str | None
    help: str
    unit: str
    kind: Kind
    labels: tuple[str, ...]
    label_values: tuple[str, ...]


class _Samples(msgspec.Struct, array_like=True):
    series: list[int]
    values: list[int | float]
    times: dict[int, float]


_decode_entry = msgspec.msgpack.Decoder(_Source | _Series).decode
_decode_samples = msgspec.msgpack.Decoder(_Samples).decode


def take_over_old(writer: Writer[Any], buffer: SpoolBuffer, log: logging.Logger) -> None:
    """Move what old files hold for this writer into its buffer; one that is damaged stays."""
    for file in old_spools(writer):
        try:
            batches = read_old(file)
        except (sqlite3.Error, msgspec.MsgspecError, LookupError, ValueError) as error:
            log.error("cannot read the old spool %s, it stays as it is: %s", file, error)
            continue
        buffer.put(*batches)
        if buffer.store():
            for suffix in ("", "-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            file.with_suffix(".reserve").unlink(missing_ok=True)


def old_spools(writer: Writer[Any]) -> list[Path]:
    """Return the old files that hold samples for this writer.

    Their names hashed every option, so that each option a writer gained since gave another name:
    those at their defaults are left out in every combination.
    """
    config = writer.config
    folder = writer.context.state_dir / SPOOL_FOLDER
    if not any(folder.glob(f"{config.type}-*{OLD_SUFFIX}")):
        return []
    fields = [f for f in msgspec.structs.fields(config) if f.name not in _NOT_THE_TARGET]
    values = [(field.name, _old_text(getattr(config, field.name))) for field in fields]
    younger = [field.name for field in fields if is_default(field, config)][-_MOST_YOUNGER:]
    found = []
    for count in range(len(younger) + 1):
        for left_out in itertools.combinations(younger, count):
            kept = [(name, text) for name, text in values if name not in left_out]
            file = spool_path(writer, repr(kept)).with_suffix(OLD_SUFFIX)
            if file.is_file() and not file.is_symlink():
                found.append(file)
    return found


def _old_text(value: object) -> str:
    """Return the text of an option as it was when old files got their names."""
    if not {"ca", "cert", "key", "insecure"} <= set(getattr(value, "__struct_fields__", ())):
        return repr(value)
    facts = (f"{name}={getattr(value, name)!r}" for name in ("ca", "cert", "key", "insecure"))
    return f"TlsConfig({', '.join(facts)})"


def read_old(file: Path) -> list[Batch]:
    """Return the batches of an old file, oldest first.

    Raises `sqlite3.Error`, `msgspec.MsgspecError`, `LookupError` or `ValueError` when it is damaged
    or in use.
    """
    found = []
    place = f"{file.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(place, timeout=0, uri=True)) as database:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        sources: dict[int, _Source] = {}
        series: dict[int, tuple[Metric, tuple[str, ...]]] = {}
        for number, entry in database.execute("SELECT id, entry FROM dictionary"):
            e = _decode_entry(entry)
            if isinstance(e, _Source):
                sources[number] = e
            else:
                metric = Metric(e.name, help=e.help, unit=e.unit, kind=e.kind, labels=e.labels)
                series[number] = metric, e.label_values
        rows = database.execute("SELECT source, time, content FROM batch ORDER BY id")
        for number, time, content in rows:
            stored = _decode_samples(content)
            columns = zip(stored.series, stored.values, strict=True)
            samples = [
                Sample(series[which][0], value, series[which][1], stored.times.get(at))
                for at, (which, value) in enumerate(columns)
            ]
            source = sources[number]
            found.append(Batch(SourceId(*source.source), samples, time, source.static_labels))
    return found
