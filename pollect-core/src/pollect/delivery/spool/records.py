"""What a spool holds of one batch: a few facts, a checksum, and the batch compressed."""

import functools
import struct
import zlib
from typing import Any, NamedTuple

import msgspec

from pollect.model import Batch, Kind, Metric

MAGIC = b"pSp2"
_START = struct.Struct("<4sI")
_FACTS = struct.Struct("<QQIId")


class Damaged(Exception):
    """What is on the disk is not what was written."""


class Record(NamedTuple):
    """A batch as it is stored."""

    #: Counts the batches of a spool.
    number: int
    #: Samples that were written into the spool before this batch.
    position: int
    samples: int
    #: Unix time in seconds when it was handed over.
    stored: float
    content: bytes

    def pack(self) -> bytes:
        number, position, samples, stored, content = self
        body = _FACTS.pack(number, position, samples, len(content), stored) + content
        return _START.pack(MAGIC, zlib.crc32(body)) + body


def parse_record(data: bytes, offset: int = 0) -> Record | None:
    """Return the record that starts here, None if there is no intact one."""
    begin = offset + _START.size
    if len(data) < begin + _FACTS.size or data[offset : offset + len(MAGIC)] != MAGIC:
        return None
    number, position, samples, size, stored = _FACTS.unpack_from(data, begin)
    body = data[begin : begin + _FACTS.size + size]
    if zlib.crc32(body) != _START.unpack_from(data, offset)[1]:
        return None
    return Record(number, position, samples, stored, body[_FACTS.size :])


def encode_batch(batch: Batch) -> bytes:
    """Return the content of a record; raises what text that is not Unicode raises."""
    try:
        packed = _encode(batch)
    except OverflowError:
        # An integer beyond 64 bits; a float holds it as well as any writer can.
        samples = [sample._replace(value=float(sample.value)) for sample in batch.samples]
        packed = _encode(msgspec.structs.replace(batch, samples=samples))
    return zlib.compress(packed, 1)  # higher levels cost four times the CPU for a tenth less


def decode_batch(content: bytes) -> Batch:
    """Return the batch of a record; raises `Damaged`."""
    try:
        return _decode(zlib.decompress(content))
    except (zlib.error, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Damaged(f"a batch cannot be decoded: {error}") from error


@functools.lru_cache(maxsize=1024)
def _metric(name: str | None, help: str, unit: str, kind: str, labels: tuple[str, ...]) -> Metric:
    return Metric(name, help=help, unit=unit, kind=Kind(kind), labels=labels)


def _unpack_metric(_: type, fields: Any) -> Metric:
    return _metric(*fields[:4], tuple(fields[4]))


_encode = msgspec.msgpack.Encoder(enc_hook=lambda metric: metric.__reduce__()[1]).encode
_decode = msgspec.msgpack.Decoder(Batch, dec_hook=_unpack_metric).decode
