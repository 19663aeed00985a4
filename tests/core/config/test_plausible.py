"""Options whose types are right and which cannot work: reported by `check`."""

from pathlib import Path

import pytest

from pollect.api import Metric
from pollect.config.load import load_config
from pollect.errors import InvalidConfig
from tests.core.config.fakes import GaugeSource, Types


def warnings_of(tmp_path: Path, source: str, more: str = "") -> list[str]:
    file = tmp_path / "config.yml"
    file.write_text(
        f"writer: {{type: Listen}}\n{more}executors:\n  - collection: c\n"
        f"    sources: [{{type: Gauge, host: h, {source}}}]\n"
    )
    config = load_config(file, Types(), environ={})
    return [f"{problem.key}: {problem.problem} ({problem.hint})" for problem in config.warnings]


RATIO = Metric("ratio", labels=("room",))
SOURCE = "executors[0].sources[0]"


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        (
            "metrics: {include: [ratioo, 'r*']}",
            f"{SOURCE}.metrics.include[0]: no value of this source matches 'ratioo' "
            "(did you mean 'ratio'?)",
        ),
        (
            "metrics: {exclude: [x*]}",
            f"{SOURCE}.metrics.exclude[0]: no value of this source matches 'x*' "
            "(known here: ratio)",
        ),
        (
            "metrics: {rename: {ratioo: share}}",
            f"{SOURCE}.metrics.rename.ratioo: no value of this source is called 'ratioo' "
            "(did you mean 'ratio'?)",
        ),
        (
            "metrics: {scale: {other: 2}}",
            f"{SOURCE}.metrics.scale.other: no value of this source is called 'other' "
            "(known here: ratio)",
        ),
        (
            "renameLabels: {room: 1a}, labels: {_a: x}",
            f"{SOURCE}.renameLabels.room: '1a' is taken (give each a name of its own)",
        ),
        (
            "metrics: {rename: {ratio: ''}}",
            f"{SOURCE}.metrics.rename.ratio: '' is taken (give each a name of its own)",
        ),
        (
            "dropLabels: [Room, site], labels: {site: north}",
            f"{SOURCE}.dropLabels[0]: no label of this source is called 'Room' "
            "(did you mean 'room'?)",
        ),
        (
            "renameLabels: {romo: place}",
            f"{SOURCE}.renameLabels.romo: no label of this source is called 'romo' "
            "(did you mean 'room'?)",
        ),
        (
            "renameLabels: {room: site}, labels: {site: north}",
            f"{SOURCE}.renameLabels.room: 'site' is taken (give each a name of its own)",
        ),
        (
            "renameLabels: {room: ' '}",
            f"{SOURCE}.renameLabels.room: expected a name, got an empty text (see `dropLabels`)",
        ),
        (
            "timeout: 0.00001",
            f"{SOURCE}.timeout: 1e-05 s is too short for any probe (it is in seconds)",
        ),
        (
            "tickTime: 0.00001",
            f"{SOURCE}.tickTime: 1e-05 s is too short for any probe (it is in seconds)",
        ),
        (
            "timeout: 1e9",
            f"{SOURCE}.timeout: 1e+09 s is longer than a day (it is in seconds)",
        ),
    ],
)
def test_what_cannot_work_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, warning: str
) -> None:
    monkeypatch.setattr(GaugeSource, "metrics", (RATIO, Metric(None)))
    assert warnings_of(tmp_path, source) == [warning]


@pytest.mark.parametrize(
    "source",
    [
        "metrics: {rename: {ratio: share, '': ratio}, scale: {ratio: 100}}",
        "renameLabels: {room: place, site: room}, labels: {site: north}",
        "dropLabels: [room], renameLabels: {site: room}, labels: {site: north}",
        "maxSeries: 0",
    ],
)
def test_names_that_the_source_has_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(GaugeSource, "metrics", (RATIO, Metric(None)))
    assert warnings_of(tmp_path, source) == []


@pytest.mark.parametrize("factor", ["0", ".inf", ".nan"])
def test_a_factor_that_leaves_nothing_is_refused(tmp_path: Path, factor: str) -> None:
    with pytest.raises(InvalidConfig, match=r"sources\[0\].metrics.*scale.ratio: expected a"):
        warnings_of(tmp_path, f"metrics: {{scale: {{ratio: {factor}}}}}")


def test_filters_of_names_that_the_device_decides_on_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GaugeSource, "metrics", (Metric("ratio"),))
    monkeypatch.setattr(GaugeSource, "dynamic_metrics", True)
    assert warnings_of(tmp_path, "metrics: {include: [anything]}") == []


def test_more_threads_than_a_process_can_have_are_a_warning(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, "timeout: 5", "threads: 1001\n") == [
        "threads: expected 1000 or fewer, got 1001 "
        "(a thread probes one source at a time; 5 to 50 suit most configs)"
    ]
    assert warnings_of(tmp_path, "timeout: 5", "threads: 1000\n") == []
