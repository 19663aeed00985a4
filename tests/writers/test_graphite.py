"""Writer Graphite: judged by Carbon and by VictoriaMetrics."""

import socket
import time
from typing import Any

import pytest

from pollect.api import Batch, Metric, Retryable, SourceId, Writer
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from pollect.testing.waiting import wait_until
from pollect_writers.graphite import GraphiteWriter, build_paths, format_lines
from tests.simulators.tcp import Peer, serve_tcp
from tests.writers.samples import NOW, VALUE, numbered, values
from tests.writers.servers import Carbon, VictoriaMetrics


def graphite(port: int, **section: Any) -> Writer[Any]:
    return build_writer(
        {"host": "127.0.0.1", "port": port, **section}, GraphiteWriter, clock=SystemClock()
    )


@pytest.mark.integration
def test_real_carbon_stores_every_second(carbon: Carbon, source: SourceId) -> None:
    now = int(time.time()) - 30
    batches = [numbered(source, number, time=float(now + number)) for number in range(10)]
    graphite(carbon.port, prefix="lab").write(batches)
    wait_until(
        lambda: (
            carbon.values(f"lab/pollect/Test/{source.name}/value.wsp", now - 1, now + 9)
            == list(range(10))
        ),
        limit_seconds=60,
    )


@pytest.mark.integration
def test_real_carbon_takes_labels_as_tags_and_as_levels(carbon: Carbon, source: SourceId) -> None:
    now = int(time.time()) - 30
    batch = values(source, {"/a b;c": 1.5}, time=float(now))
    graphite(carbon.port).write([batch])
    graphite(carbon.port, tags=False).write([batch])
    levels = f"pollect/Test/{source.name}/value/of/_a_b_c.wsp"
    wait_until(lambda: carbon.values(levels, now - 1, now) == [1.5], limit_seconds=60)
    # A slash in the value makes a folder.
    tagged = f"_tagged/*/*/*{source.name}*of=/a_b_c.wsp"
    wait_until(lambda: carbon.values(tagged, now - 1, now) == [1.5], limit_seconds=60)


@pytest.mark.integration
def test_victoria_metrics_turns_tags_into_labels(
    victoria_metrics: VictoriaMetrics, source: SourceId
) -> None:
    graphite(victoria_metrics.graphite_port).write([values(source, {"a": 1, "b": -2.5})])
    selector = f'{{__name__="pollect.Test.{source.name}.value"}}'
    wait_until(lambda: len(victoria_metrics.export(selector)) == 2, limit_seconds=60)
    rows = victoria_metrics.export(selector)
    assert {row["metric"]["of"]: row["values"] for row in rows} == {"a": [1], "b": [-2.5]}


def test_lines_are_those_of_the_plain_text_protocol() -> None:
    metric = Metric("a value", labels=("tag=1", "empty", "tilde"))
    source = SourceId("my host", "ext.Thing")
    samples = [metric.sample(1, "x;y", "", "~z"), Metric(None).sample(0.5, time=NOW + 1.9)]
    batch = Batch(source, samples, NOW, (("site", "home"),))
    assert format_lines([batch], build_paths()) == [
        "my_host.ext.Thing.a_value;tag_1=x_y;tilde=z;site=home 1 1700000000\n",
        "my_host.ext.Thing;site=home 0.5 1700000001\n",
    ]
    assert format_lines([batch], build_paths(prefix="lab.", tags=False))[1] == (
        "lab.my_host.ext.Thing.site.home 0.5 1700000001\n"
    )


def test_server_that_breaks_off_has_not_taken_the_data() -> None:
    def break_off(connection: socket.socket, peer: Peer) -> None:
        connection.recv(10)
        # Closing with unread data makes the kernel send a reset.

    batch = Batch(SourceId("c", "T"), [VALUE.sample(1.0)] * 100, NOW)
    with serve_tcp(break_off) as peer, pytest.raises(Retryable):
        graphite(peer.port).write([batch])


def say_nothing(connection: socket.socket, peer: Peer) -> None:
    peer.over.wait(30)


@pytest.mark.parametrize("samples", [1, 300_000])
def test_server_that_does_not_read_costs_the_timeout_at_most(samples: int) -> None:
    batch = Batch(SourceId("c", "T"), [VALUE.sample(1.0)] * samples, NOW)
    with serve_tcp(say_nothing) as peer:
        writer = graphite(peer.port, timeout=0.2)
        with pytest.raises(Retryable, match=r"did not take the data in 0\.2 s"):
            writer.write([batch])


def test_nothing_to_say_makes_no_connection() -> None:
    graphite(1).write([Batch(SourceId("c", "T"), [], NOW)])
