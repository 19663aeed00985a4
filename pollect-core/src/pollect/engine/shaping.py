"""What a config makes of the values of one source: other names, other units, fewer labels.

Only sources whose config asks for it pay for it. All options use the names that the source gives;
what is not mentioned keeps its own.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pollect.hints import Alert, Headline, Panel
from pollect.model import Kind, Metric, Sample
from pollect.plugin import MetricFilter

#: Metrics remembered at most: some sources make up names without end.
_MAX_FORMS = 10_000


class LabelRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which labels of a source to leave out, and what to call the others."""

    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self.drop or self.rename)

    def apply(self, labels: Sequence[str]) -> list[tuple[int, str]]:
        """Return the positions that stay, with their names.

        A new name that another label of these has already is not given.
        """
        kept = [(index, name) for index, name in enumerate(labels) if name not in self.drop]
        taken = {name for _, name in kept if name not in self.rename}
        named: list[tuple[int, str]] = []
        for index, name in kept:
            new = self.rename.get(name, name)
            if name in self.rename and new in taken:
                new = name
            taken.add(new)
            named.append((index, new))
        return named

    def apply_to_static(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Do the same with static labels."""
        names, values = list(labels), list(labels.values())
        return {name: values[index] for index, name in self.apply(names)}


class _Form(NamedTuple):
    """What one metric becomes."""

    metric: Metric
    factor: float | None
    #: The positions of the labels that stay; None for all of them.
    kept: tuple[int, ...] | None


class Shaper:
    """Renames, scales and relabels the clean samples of one source."""

    def __init__(self, metrics: MetricFilter, labels: LabelRules, log: logging.Logger) -> None:
        self._metrics = metrics
        self._labels = labels
        self._log = log
        self._forms: dict[Metric, _Form] = {}
        self._complained: set[str] = set()

    def shape(self, samples: Sequence[Sample], largest: float) -> list[Sample]:
        """Return the samples as the config wants them.

        Of those that the config gives one name and the same labels the first one stays.
        """
        shaped: list[Sample] = []
        seen: set[tuple[str | None, tuple[str, ...], tuple[str, ...]]] = set()
        for metric, value, labels, time in samples:
            form = self._forms.get(metric) or self._form(metric)
            if form.factor is not None:
                value *= form.factor
                if not -largest <= value <= largest:
                    self._complain(f"value {metric.name} left out: too large once it is scaled")
                    continue
            if form.kept is not None:
                labels = tuple([labels[index] for index in form.kept])
            key = (form.metric.name, form.metric.labels, labels)
            if key in seen:
                self._complain(
                    f"several values are called {form.metric.name or '(without a name)'} with the "
                    "same labels now, the first one stays: see `dropLabels` and `metrics.rename`"
                )
                continue
            seen.add(key)
            shaped.append(Sample(form.metric, value, labels, time))
        return shaped

    def shaped(self, metric: Metric) -> Metric:
        """Return what a metric becomes, the hints it carries included."""
        return self._form(metric).metric

    def _form(self, metric: Metric) -> _Form:
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        own = metric.name or ""
        factor = self._metrics.scale.get(own)
        kept = self._labels.apply(metric.labels)
        names = {metric.labels[index]: name for index, name in kept}
        scaled = factor is not None
        new = Metric(
            self._metrics.rename.get(own, own) or None,
            help=metric.help,
            # The value is in another unit now, which only the config's author knows.
            unit="" if scaled else metric.unit,
            kind=Kind.GAUGE if factor is not None and factor < 0 else metric.kind,
            labels=[name for _, name in kept],
            headline=_headlines(metric, names),
            panel=_panel(metric, factor),
            alert=_alerts(metric, names, factor),
        )
        positions = tuple(index for index, _ in kept)
        stays = positions == tuple(range(len(metric.labels)))
        form = self._forms[metric] = _Form(new, factor, None if stays else positions)
        return form

    def _complain(self, problem: str) -> None:
        if problem not in self._complained and len(self._complained) < 10:
            self._complained.add(problem)
            self._log.warning("%s", problem)


def _renamed(labels: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str] | None:
    """Return what a hint wants of labels under their new names; None if one of them is gone."""
    if not labels.keys() <= names.keys():
        return None
    return {names[label]: wanted for label, wanted in labels.items()}


def _headlines(metric: Metric, names: Mapping[str, str]) -> list[Headline]:
    renamed = [(line, _renamed(line.labels, names)) for line in metric.headline]
    return [line._replace(labels=labels) for line, labels in renamed if labels is not None]


def _panel(metric: Metric, factor: float | None) -> Panel | None:
    panel = metric.panel
    if panel is None or factor is None:
        return panel
    ends = [_times(panel.minimum, factor), _times(panel.maximum, factor)]
    minimum, maximum = ends if factor > 0 else reversed(ends)
    return panel._replace(
        minimum=minimum,
        maximum=maximum,
        amber=_times(panel.amber, factor),
        red=_times(panel.red, factor),
        states={value * factor: text for value, text in panel.states.items()},
        good=tuple(value * factor for value in panel.good),
        bad=tuple(value * factor for value in panel.bad),
        moment=False,
    )


def _alerts(metric: Metric, names: Mapping[str, str], factor: float | None) -> list[Alert]:
    """Return the alerts of a metric for its new labels and unit.

    One that asks for a label which is left out cannot be asked any more.
    """
    alerts = []
    for alert in metric.alerts:
        labels, share_of = _renamed(alert.labels, names), _renamed(alert.share_of, names)
        if labels is None or share_of is None:
            continue
        above, below = alert.above, alert.below
        if factor is not None and not share_of:  # a share has no unit
            above, below = _times(above, factor), _times(below, factor)
            if factor < 0:
                above, below = below, above
        alerts.append(alert._replace(labels=labels, share_of=share_of, above=above, below=below))
    return alerts


def _times(value: float | None, factor: float) -> float | None:
    # Adding 0.0 makes 0.0 of -0.0.
    return None if value is None else value * factor + 0.0


class SeriesLimit:
    """Leaves out what is beyond `maxSeries`, so that one bad label does not flood a backend."""

    def __init__(self, limit: int, log: logging.Logger) -> None:
        self._limit = limit
        self._log = log
        #: Values left out since the start.
        self.dropped = 0
        self._exceeded = False

    def apply(self, samples: list[Sample]) -> list[Sample]:
        """Return at most as many samples as allowed, the first ones."""
        beyond = len(samples) - self._limit if self._limit else 0
        if beyond <= 0:
            if self._exceeded:
                self._exceeded = False
                self._log.info("back to at most %d series", self._limit)
            return samples
        self.dropped += beyond
        if not self._exceeded:
            self._exceeded = True
            first = samples[self._limit]
            labels = dict(zip(first.metric.labels, first.label_values, strict=True))
            self._log.warning(
                "%d series are more than `maxSeries: %d` allows: %d are left out, the first of "
                "them is %s with the labels %.200s",
                len(samples),
                self._limit,
                beyond,
                first.metric.name or "(without a name)",
                labels,
            )
        return samples[: self._limit]
