"""Dummy, DryRun and InMemory."""

from collections.abc import Mapping
from typing import Any

import pytest

from pollect.api import Batch, Metric, NoData, ProbeError, SourceId
from pollect.builtin import plugin
from pollect.builtin.dry_run import DryRunWriter
from pollect.builtin.dummy import DummySource
from pollect.builtin.in_memory import InMemoryWriter, ParallelInMemoryWriter
from pollect.testing import FakeClock, build_source, build_writer

LOAD = Metric(labels=("time",))
BYTES = Metric("bytes", labels=("nic",))
LOAD_AVG = SourceId("pollect", "LoadAvg")


def dummy(section: Mapping[str, Any]) -> DummySource:
    source = build_source(section, DummySource)
    assert isinstance(source, DummySource)
    return source


def test_every_spec_loads_its_class() -> None:
    for source in plugin.pollect_sources():
        assert source.load().__name__ == f"{source.type}Source"
    for writer in plugin.pollect_writers():
        assert writer.load().__name__ == f"{writer.type}Writer"


def test_dummy_gives_the_values_of_its_config() -> None:
    source = dummy({"value": "5", "values": {"a": 1.5}})
    found = {(sample.metric.name, sample.value) for sample in source.probe()}
    assert found == {("a", 1.5), (None, 5.0)}


def test_dummy_counts_one_up_at_every_probe() -> None:
    source = dummy({"count": 2})
    source.probe()
    assert [(sample.label_values, sample.value) for sample in source.probe()] == [
        (("0",), 2),
        (("1",), 3),
    ]


def test_dummy_without_values_has_nothing_to_report() -> None:
    with pytest.raises(NoData):
        dummy({}).probe()


def test_dummy_fails_for_the_reason_it_is_given() -> None:
    with pytest.raises(ProbeError, match="the cable is out"):
        dummy({"value": 1, "fail": "the cable is out"}).probe()


def test_dummy_wakes_from_its_sleep_when_the_daemon_stops() -> None:
    source = dummy({"value": 1, "sleep": 3600})
    source.context.stopping.set()
    assert list(source.probe())


def test_dry_run_prints_names_labels_and_values_as_1x_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    writer = build_writer({"type": "Prometheus"}, DryRunWriter, clock=FakeClock())
    samples = [
        LOAD.sample(1.6484375, "short"),
        BYTES.sample(7, "eth0"),
        LOAD.sample(0.96826171875, "mid"),
    ]
    writer.write([Batch(LOAD_AVG, samples, 0.0, (("site", "x"),))])
    head, _, text = capsys.readouterr().out.partition("[DryRunWriter] ")
    assert head.startswith("I 2023-11-1")
    assert text == (
        "[PrometheusWriter] Would write pollect.LoadAvg ['time', 'site']\n"
        "\t1.6484375 (None, ['short', 'x'])\n"
        "\t0.96826171875 (None, ['mid', 'x'])\n"
        "###\n"
        "pollect.LoadAvg ['nic', 'site']\n"
        "\t7 ('bytes', ['eth0', 'x'])\n"
    )


def test_dry_run_says_nothing_about_a_withdrawal(capsys: pytest.CaptureFixture[str]) -> None:
    build_writer({}, DryRunWriter).write([Batch(LOAD_AVG, [], 0.0)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("writer_type", [InMemoryWriter, ParallelInMemoryWriter])
def test_in_memory_keeps_the_last_calls_only(writer_type: type[InMemoryWriter]) -> None:
    writer = build_writer({"keep": 2}, writer_type)
    assert isinstance(writer, InMemoryWriter)
    batches = [Batch(LOAD_AVG, [LOAD.sample(n, "short")], float(n)) for n in range(3)]
    for batch in batches:
        writer.write([batch])
    assert writer.write_calls == 3
    assert writer.data == [[batches[1]], [batches[2]]]


def test_only_the_parallel_one_takes_single_sources() -> None:
    assert (InMemoryWriter.accepts_partial, ParallelInMemoryWriter.accepts_partial) == (False, True)
