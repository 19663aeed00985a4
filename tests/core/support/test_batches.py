"""The message that carries a batch: everything of it arrives, and what is no batch is refused."""

import json
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollect.api import Batch, Kind, Metric, SourceId
from pollect.model import LATEST_TIME
from pollect.support import batches as format_of_ours
from pollect.support.batches import (
    COMPRESSED_BYTES,
    NotABatch,
    decode_message,
    encode_message,
    message_id,
)

ENERGY = Metric("energy", help="So far.", unit="joules", kind=Kind.COUNTER, labels=("room",))
PLAIN = Metric()
BATCH = Batch(
    SourceId("home", "Meter", "attic", 2),
    [ENERGY.sample(5, "küche"), ENERGY.sample(5.0, "", time=3.5), PLAIN.sample(-0.25)],
    1_700_000_000.5,
    (("site", "a"), ("site b", "ü")),
    25.0,
)

texts = st.text(max_size=20)
words = st.text(min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
times = st.floats(0, LATEST_TIME)


@st.composite
def any_batch(draw: st.DrawFn) -> Batch:
    samples = []
    for _ in range(draw(st.integers(0, 4))):
        labels = draw(st.lists(words, max_size=3, unique=True))
        metric = Metric(
            draw(st.none() | texts),
            help=draw(texts),
            unit=draw(texts),
            kind=draw(st.sampled_from(Kind)),
            labels=labels,
        )
        values = [draw(texts) for _ in labels]
        samples.append(metric.sample(draw(numbers), *values, time=draw(st.none() | times)))
    return Batch(
        SourceId(
            draw(words),
            draw(words),
            draw(st.none() | texts),
            draw(st.integers(0, 99)),
            draw(texts),
        ),
        samples,
        draw(times),
        tuple(draw(st.dictionaries(words, texts, max_size=3)).items()),
        draw(st.none() | st.floats(0.1, 1e9)),
        draw(st.none() | st.tuples(st.integers(1, 2**60), st.integers(0, 2**60))),
    )


@given(any_batch())
@settings(max_examples=100, deadline=None)
def test_every_batch_arrives_as_it_was(batch: Batch) -> None:
    found = decode_message(encode_message(batch, "pi-1")).batch
    own = batch.source.collection == "pollect"
    assert own or found == batch
    assert [type(s.value) for s in found.samples] == [type(s.value) for s in batch.samples]


def test_message_names_its_daemon_and_its_version() -> None:
    data = encode_message(BATCH, "pi-1")
    assert json.loads(data) | {"metrics": [], "samples": []} == {
        "pollect": 1,
        "origin": "pi-1",
        "source": ["home", "Meter", "attic", 2],
        "time": 1_700_000_000.5,
        "fresh": 25.0,
        "epoch": None,
        "labels": [["site", "a"], ["site b", "ü"]],
        "metrics": [],
        "samples": [],
    }
    assert decode_message(data).origin == "pi-1"


def test_source_of_a_fleet_is_the_same_whichever_member_has_it() -> None:
    shared = Batch(BATCH.source, BATCH.samples, BATCH.time, epoch=(7, 9))
    assert encode_message(shared, "pi-1") == encode_message(shared, "pi-2")
    found = decode_message(encode_message(shared, "pi-1"))
    assert (found.origin, found.batch.epoch) == ("", (7, 9))


def test_metrics_of_pollect_itself_say_whose_they_are() -> None:
    own = Batch(SourceId("pollect", "source"), [PLAIN.sample(1)], 5.0)
    assert decode_message(encode_message(own, "pi-1")).batch.static_labels == (("origin", "pi-1"),)
    for kind in ("LoadAvg", "extensions.counting"):
        other = Batch(SourceId("pollect", kind), [PLAIN.sample(1)], 5.0)
        assert decode_message(encode_message(other, "pi-1")).batch == other


def test_integer_beyond_64_bits_becomes_a_float() -> None:
    batch = Batch(BATCH.source, [PLAIN.sample(2**70), PLAIN.sample(3)], 5.0)
    values = [s.value for s in decode_message(encode_message(batch, "")).batch.samples]
    assert values == [2.0**70, 3]


def test_large_message_is_compressed_always_to_the_same_bytes() -> None:
    samples = [ENERGY.sample(number, f"room {number}") for number in range(5000)]
    batch = Batch(BATCH.source, samples, 5.0)
    data = encode_message(batch, "pi-1")
    assert data[:2] == b"\x1f\x8b"
    assert len(data) < COMPRESSED_BYTES
    assert data == encode_message(batch, "pi-1")
    assert decode_message(data).batch == batch


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(encode_message(BATCH, "pi-1")) | changes).encode()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "truncated"),
        (b"hello", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "expected `object`"),
        (b'{"a":' * 100_000, "truncated|recursion|required"),
        (b"{}", "missing required field `pollect`"),
        (b'{"pollect": 2}', "version 2 of the format, this pollect knows 1"),
        (changed(pollect=9), "version 9"),
        (changed(source=["home"]), "length"),
        (changed(source=["", "Meter", None, 0]), "length"),
        (changed(source=["home", "Meter", None, -1]), ">= 0"),
        (changed(time=-1.0), "expected a Unix time"),
        (changed(time=1e15), "expected a Unix time"),
        (changed(fresh=0), "> 0"),
        (changed(metrics=[["a", "", "", "other", []]]), "enum"),
        (changed(metrics=[["a", "", "", "gauge", ["x", "x"]]]), "names a label twice"),
        (changed(samples=[[3, 1, [], None]]), "a sample of metric 3, but there are 2"),
        (changed(samples=[[-1, 1, [], None]]), "a sample of metric -1"),
        (changed(samples=[[0, 1, [], None]]), "0 label values for the 1 labels of 'energy'"),
        (changed(samples=[[0, "1", ["a"], None]]), "expected `int | float`"),
        (changed(samples=[[0, None, ["a"], None]]), "expected `int | float`"),
        (changed(samples=[[1, 1, [], -3]]), "expected a Unix time"),
        (encode_message(BATCH, "x").replace(b"-0.25", b"1e999"), "out of range"),
        (encode_message(BATCH, "x").replace(b"-0.25", b"NaN"), "malformed"),
        (b"\x1f\x8bxx", "compression|header"),
        (zlib.compress(b"x", wbits=31)[:-4], "truncated"),
    ],
)
def test_what_is_no_batch_is_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(NotABatch, match=f"(?i){complaint}") as refused:
        decode_message(data)
    assert len(str(refused.value)) < 400


def test_message_cannot_unfold_to_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_of_ours, "MOST_BYTES", 100_000)
    bomb = zlib.compress(b" " * 10_000_000, wbits=31)
    assert len(bomb) < 100_000
    with pytest.raises(NotABatch, match="more than 100000 bytes once decompressed"):
        decode_message(bomb)
    with pytest.raises(NotABatch, match="100001 bytes are more"):
        decode_message(b" " * 100_001)


def test_message_may_hold_what_a_later_pollect_adds() -> None:
    assert decode_message(changed(colour="green")).batch == BATCH


def test_message_id_is_source_epoch_and_tick() -> None:
    data = encode_message(BATCH, "pi-1")
    tick = f"1700000000500000-{zlib.crc32(data):08x}"
    assert message_id(BATCH, "pi-1", data) == f"home/Meter/attic#3/pi-1/{tick}"
    shared = Batch(BATCH.source, (), 5.0, epoch=(7, 9))
    assert "/7.9/5000000-" in message_id(shared, "pi-1", encode_message(shared, "pi-1"))


def test_largest_finite_numbers_arrive() -> None:
    batch = Batch(BATCH.source, [PLAIN.sample(sys.float_info.max)], 5.0)
    assert decode_message(encode_message(batch, "")).batch == batch
