"""What a spool holds of one batch: a few facts, a checksum, and the batch compressed."""

import functools
import re
import struct
import zlib
from collections.abc import Iterator

import msgspec

from pollect.delivery.memory import Entry
from pollect.model import Batch, Kind, Metric

#: Names the format, `Batch` and `Metric` as they are encoded included.
_MAGIC = b"pSp3"
#: Number of a batch, its samples, bytes of its content, Unix time of its arrival.
_FACTS = struct.Struct("<QIId")


def checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def pack_record(entry: Entry, stored: float) -> bytes:
    body = _FACTS.pack(entry.number, entry.samples, len(entry.packed), stored) + entry.packed
    return _MAGIC + checksum(body) + body


def find_records(data: bytes) -> Iterator[Entry]:
    """Yield every batch that is intact, `added` in Unix time."""
    end = 0
    for start in re.finditer(_MAGIC, data):
        begin, content = start.end() + 4, start.end() + 4 + _FACTS.size
        if start.start() >= end and content <= len(data):
            number, samples, size, stored = _FACTS.unpack_from(data, begin)
            if checksum(data[begin : content + size]) == data[begin - 4 : begin]:
                end = content + size
                entry = Entry(number, samples, stored, None)
                entry.packed = data[content:end]
                yield entry


def encode_batch(batch: Batch) -> bytes:
    """Return the content of a record; raises what text that is not Unicode raises."""
    return zlib.compress(_encode(batch), 1)  # higher levels: four times the CPU, a tenth less


def decode_batch(content: bytes) -> Batch | None:
    """Return the batch of a record; None if another version encoded it in its own way."""
    try:
        return _decode(zlib.decompress(content))
    except (zlib.error, msgspec.MsgspecError, ValueError, TypeError):
        return None


@functools.lru_cache(maxsize=1024)
def _metric(name: str | None, help: str, unit: str, kind: str, labels: tuple[str, ...]) -> Metric:
    return Metric(name, help=help, unit=unit, kind=Kind(kind), labels=labels)


_encode = msgspec.msgpack.Encoder(enc_hook=lambda metric: metric.__reduce__()[1]).encode
_decode = msgspec.msgpack.Decoder(
    Batch, dec_hook=lambda _, fields: _metric(*fields[:4], tuple(fields[4]))
).decode
