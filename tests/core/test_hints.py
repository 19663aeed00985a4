"""Hints on metrics: what is refused, and that they are no part of a metric's identity."""

import pickle

import pytest

from pollect.api import Alert, Headline, Metric, Panel

FREE = Alert("DiskFull", "less than 5 % of the disk is free", below=5.0)


def test_hints_are_kept_but_do_not_tell_metrics_apart() -> None:
    hinted = Metric("free", labels=("disk",), headline=True, panel=Panel(maximum=1.0), alert=FREE)

    assert hinted == Metric("free", labels=("disk",))
    assert hash(hinted) == hash(Metric("free", labels=("disk",)))
    assert (hinted.panel, hinted.alerts) == (Panel(maximum=1.0), (FREE,))
    assert hinted.headline == (Headline(),)


def test_a_headline_may_pick_series_and_names_no_other_labels() -> None:
    used = Headline("used", {"type": "used"})
    assert Metric(labels=("type",), headline=used).headline == (used,)
    assert Metric(labels=("type",), headline=[used, Headline()]).headline == (used, Headline())
    assert Metric(headline=False).headline == ()
    with pytest.raises(ValueError, match="names a label it does not have"):
        Metric(labels=("kind",), headline=used)


def test_a_metric_from_a_pickle_or_a_spool_is_the_same_metric() -> None:
    hinted = Metric("free", unit="bytes", headline=True, alert=[FREE])

    assert pickle.loads(pickle.dumps(hinted)) == hinted


@pytest.mark.parametrize(
    ("alert", "problem"),
    [
        (FREE._replace(name="disk full"), "CamelCase"),
        (FREE._replace(summary=""), "expected a summary"),
        (FREE._replace(below=None), "expected `above` or `below`"),
        (FREE._replace(above=1.0), "expected `above` or `below`"),
        (FREE._replace(lasting_seconds=float("nan")), "expected seconds, got nan"),
        (FREE._replace(labels={"disc": "*"}), "names a label it does not have"),
    ],
)
def test_a_hint_that_makes_no_rule_is_refused_where_the_metric_is_declared(
    alert: Alert, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Metric("free", labels=("disk",), alert=alert)
