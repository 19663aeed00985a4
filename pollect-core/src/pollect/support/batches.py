"""The message that carries one batch from a daemon to another, by whatever transport.

Version 1, one JSON object (RFC 8259) in UTF-8; of a large one its gzip form, which begins with the
bytes 1f 8b. `docs/transports.md` describes it for other programs:

    {"pollect": 1, "origin": "pi-1", "source": ["net", "TcpTime", "router", 0],
     "time": 1700000000.5, "fresh": 25.0, "epoch": null, "labels": [["site", "attic"]],
     "metrics": [[null, "Seconds to connect.", "seconds", "gauge", ["url"]]],
     "samples": [[0, 0.012, ["router:80"], null]]}

A sample is the number of its metric, its value, its label values, and its own Unix time or null.
Integers stay integers. An empty list of samples says that the source has no values any more. A
reader ignores members it does not know; what an older reader could not ignore raises the version.
The metrics of pollect itself get their origin as a label.
"""

import functools
import zlib
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from pollect.errors import PollectError
from pollect.model import LATEST_TIME, Batch, Kind, Metric, Sample, SourceId
from pollect.text import valid_text

VERSION: Final = 1
#: Of the metrics of pollect itself.
OWN_COLLECTION: Final = "pollect"
#: Messages of more bytes are compressed.
COMPRESSED_BYTES: Final = 64 * 1024
#: What a message may unfold to: some 400,000 samples.
MOST_BYTES: Final = 32 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31

_Text = Annotated[str, Meta(max_length=4096)]
_Word = Annotated[str, Meta(min_length=1, max_length=1024)]


class NotABatch(PollectError):
    """A message is not a batch, or not one of a version that is known."""


class Message(NamedTuple):
    """A batch and whom it is from."""

    batch: Batch
    #: See `pollect.relay.Parcel`.
    origin: str


class _Metric(msgspec.Struct, array_like=True):
    name: _Text | None
    help: Annotated[str, Meta(max_length=65_536)]
    unit: _Text
    kind: Kind
    labels: tuple[_Word, ...]


class _Sample(msgspec.Struct, array_like=True, gc=False):
    metric: int
    value: int | float
    labels: tuple[str, ...]
    time: float | None


class _Source(msgspec.Struct, array_like=True):
    collection: _Word
    type: _Word
    name: _Text | None
    instance: Annotated[int, Meta(ge=0, le=2**31)]
    target: _Text = ""


class _Envelope(msgspec.Struct):
    pollect: int
    origin: _Text
    source: _Source
    time: float
    fresh: Annotated[float, Meta(gt=0)] | None
    epoch: tuple[int, int] | None
    labels: tuple[tuple[_Word, str], ...]
    metrics: list[_Metric]
    samples: list[_Sample]


class _Version(msgspec.Struct):
    pollect: int


_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder(_Envelope).decode
_decode_version = msgspec.json.Decoder(_Version).decode


def encode_message(batch: Batch, origin: str) -> bytes:
    """Return the message for a batch; equal batches give equal messages."""
    numbers: dict[Metric, int] = {}
    samples: list[tuple[int, int | float, tuple[str, ...], float | None]] = []
    for metric, value, labels, time in batch.samples:
        samples.append((numbers.setdefault(metric, len(numbers)), value, labels, time))
    envelope = {
        "pollect": VERSION,
        # A source that a fleet shares is the same whoever has it at the moment.
        "origin": "" if batch.epoch is not None else origin,
        "source": _source(batch.source),
        "time": batch.time,
        "fresh": batch.fresh_seconds,
        "epoch": batch.epoch,
        "labels": _labels(batch, origin),
        "metrics": [[m.name, m.help, m.unit, m.kind.value, m.labels] for m in numbers],
        "samples": samples,
    }
    try:
        data = _encoder.encode(envelope)
    except OverflowError:
        # An integer beyond 64 bits; a float holds it as well as any writer can.
        envelope["samples"] = [(number, float(value), *rest) for number, value, *rest in samples]
        data = _encoder.encode(envelope)
    if len(data) <= COMPRESSED_BYTES:
        return data
    compress = zlib.compressobj(1, wbits=_GZIP_WBITS)  # without a time in it, unlike gzip.compress
    return compress.compress(data) + compress.flush()


def decode_message(data: bytes) -> Message:
    """Return what is in a message; raises `NotABatch`."""
    try:
        return _message(_decode(_unfold(data)))
    except (msgspec.MsgspecError, UnicodeDecodeError, zlib.error, RecursionError) as error:
        raise NotABatch(_reason(data, error)) from error


def message_id(batch: Batch, origin: str, data: bytes) -> str:
    """Return what names a batch wherever and however often it is sent: source/epoch/tick.

    Of a source that is not shared by a fleet, its daemon stands for the epoch. The tick is the
    time of the probe in microseconds, with a checksum for clocks that were set back.
    """
    epoch = origin if batch.epoch is None else "{}.{}".format(*batch.epoch)
    tick = f"{round(batch.time * 1e6)}-{zlib.crc32(data):08x}"
    return f"{batch.source}/{epoch}/{tick}"


def _source(source: SourceId) -> tuple[str | int | None, ...]:
    """Return the parts of an id that the format has, those that say nothing left out."""
    parts = (source.collection, source.type, source.name, source.instance)
    return (*parts, source.target) if source.target else parts


def _labels(batch: Batch, origin: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of all series: what pollect says of itself needs to say which one."""
    source = batch.source
    if source.collection == OWN_COLLECTION and source.type.islower() and "." not in source.type:
        return (*batch.static_labels, ("origin", origin))
    return batch.static_labels


def _unfold(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise NotABatch(f"{len(data)} bytes are more than a batch may take")
    if not data.startswith(_GZIP):
        return data
    unfold = zlib.decompressobj(_GZIP_WBITS)
    text = unfold.decompress(data, MOST_BYTES)
    if unfold.unconsumed_tail or not unfold.eof:
        raise NotABatch(
            f"truncated compressed data, or more than {MOST_BYTES} bytes once decompressed"
        )
    return text


def _message(envelope: _Envelope) -> Message:
    if envelope.pollect != VERSION:
        raise NotABatch(f"version {envelope.pollect} of the format, this pollect knows {VERSION}")
    metrics = [_metric(m.name, m.help, m.unit, m.kind, m.labels) for m in envelope.metrics]
    samples = [_sample(sample, metrics) for sample in envelope.samples]
    _check_time(envelope.time)
    source = envelope.source
    batch = Batch(
        SourceId(source.collection, source.type, source.name, source.instance, source.target),
        samples,
        envelope.time,
        envelope.labels,
        envelope.fresh,
        envelope.epoch,
    )
    return Message(batch, envelope.origin)


def _sample(sample: _Sample, metrics: list[Metric]) -> Sample:
    if not 0 <= sample.metric < len(metrics):
        raise NotABatch(f"a sample of metric {sample.metric}, but there are {len(metrics)}")
    metric = metrics[sample.metric]
    if len(sample.labels) != len(metric.labels):
        raise NotABatch(
            f"{len(sample.labels)} label values for the {len(metric.labels)} labels of "
            f"{metric.name or 'a metric without a name'!r:.80}"
        )
    value = sample.value
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = float(value)
    if sample.time is not None:
        _check_time(sample.time)
    return Sample(metric, value, sample.labels, sample.time)


@functools.lru_cache(maxsize=4096)
def _metric(name: str | None, help: str, unit: str, kind: Kind, labels: tuple[str, ...]) -> Metric:
    try:
        return Metric(name, help=help, unit=unit, kind=kind, labels=labels)
    except ValueError as error:
        raise NotABatch(str(error)) from error


def _check_time(time: float) -> None:
    if not 0 <= time <= LATEST_TIME:
        raise NotABatch(f"expected a Unix time in seconds, got {time!r}")


def _reason(data: bytes, error: Exception) -> str:
    """Say why a message is not a batch; one of another version may well look different."""
    try:
        version = _decode_version(_unfold(data)).pollect
    except Exception:  # noqa: BLE001 - then that is not the reason
        version = VERSION
    if version != VERSION:
        return f"version {version} of the format, this pollect knows {VERSION}"
    return f"{valid_text(str(error))[:200]}, in {data[:60]!r}"
