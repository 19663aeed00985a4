"""Names in Prometheus' form, as several writers use them."""

import pytest

from pollect.api import Batch, Metric, SourceId
from pollect_writers.names import filled_labels, prometheus_base_name, prometheus_name


@pytest.mark.parametrize(
    ("source", "value_name", "expected"),
    [
        (SourceId("pollect", "Process", "web"), "load_percent", "pollect_Process_web_load_percent"),
        (SourceId("pollect", "Http"), None, "pollect_Http"),
        (SourceId("my-host", "ext.Thing"), "a!b", "my_host_ext_Thing_ab"),
        (SourceId("1abc", "T"), None, "_abc_T"),
        (SourceId("My Src", "a/b"), "Wärme%", "My_Src_a_b_W_rme_"),
    ],
)
def test_metric_names_are_spelled_as_in_1x(source, value_name, expected) -> None:
    assert prometheus_name(source, Metric(value_name)) == expected


def test_base_name_leaves_the_value_name_out() -> None:
    assert prometheus_base_name(SourceId("pollect", "Interface", "lan")) == "pollect_Interface_lan"


def test_first_of_two_labels_with_one_spelling_stays_and_empty_ones_go() -> None:
    metric = Metric("v", labels=("a-b", "a.b", "empty"))
    batch = Batch(SourceId("c", "T"), [metric.sample(1, "x", "y", "")], 0.0, (("site", "home"),))
    assert filled_labels(batch, batch.samples[0]) == {"a_b": "x", "site": "home"}
