"""A dashboard for Grafana from the metrics that the configured sources declare.

A pure function of a plan to data for JSON (Grafana's classic model, schema 39): two runs give the
same. A row for each source, its headlines first; a stable `uid`, so that an import replaces the
one before.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pollect.derived.contracts import (
    Contract,
    all_metrics,
    contracts_of,
    self_contracts,
    sources_of,
)
from pollect.engine.plan import Plan, SourcePlan
from pollect.hints import Panel
from pollect.human import is_moment
from pollect.model import Kind, Metric
from pollect.support.names import label_name, metric_name
from pollect.units import UNITS, describe_unit, unit_word

Json: TypeAlias = dict[str, Any]

SCHEMA_VERSION = 39
_DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_INSTANCE = 'instance=~"$instance"'
_COLUMNS, _WIDTH, _HEIGHT = 24, 12, 8
_PER_ROW = _COLUMNS // _WIDTH
#: What a counter of such a unit is by the second: the unit in Grafana, and a factor.
_RATES: Mapping[str, tuple[str, float]] = {
    "joules": ("watt", 1.0),
    "watt_hours": ("watt", 3600.0),
    "kilowatt_hours": ("kwatt", 3600.0),
    "seconds": ("percentunit", 1.0),
    "milliseconds": ("percentunit", 0.001),
    "bits": ("bps", 1.0),
    "bytes": ("binBps", 1.0),
}
#: Units of which a rate says nothing: how old something is, how far it went.
_SHOWN_AS_COUNTED = frozenset({"hours", "days", "kilometres"})
_GREEN, _AMBER, _RED = "green", "orange", "red"
#: Of states that are neither good nor bad.
_NEUTRAL = ("text", "blue", "purple", "yellow", "super-light-blue", "super-light-purple")


class _Query(NamedTuple):
    expression: str
    legend: str
    unit: str


def dashboard_of(plan: Plan, title: str = "") -> Json:
    """Return the dashboard of a plan as plain data."""
    collections = list(dict.fromkeys(executor.name for executor in plan.executors))
    title = title or f"pollect: {', '.join(collections)}"
    panels: list[Json] = []
    y = 0
    rows = [("pollect", [_own_panel(one) for one in self_contracts(plan) if _is_drawn(one)])]
    rows += [(str(source.id), _panels_of(source)) for source in sources_of(plan)]
    for name, row in rows:
        if row:
            y = _add_row(panels, name, row, y)
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    digest = hashlib.sha256("\n".join(collections).encode()).hexdigest()[:12]
    return {
        "uid": f"pollect-{digest}",
        "title": title,
        "tags": ["pollect"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables(plan)},
        "panels": panels,
    }


def _add_row(panels: list[Json], name: str, row: Sequence[Json], y: int) -> int:
    panels.append(
        {
            "type": "row",
            "title": name,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
    )
    y += 1
    for position, panel in enumerate(row):
        column, line = position % _PER_ROW, position // _PER_ROW
        place = {"x": column * _WIDTH, "y": y + line * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
        panels.append({**panel, "gridPos": place})
    return y + -(-len(row) // _PER_ROW) * _HEIGHT


def _panels_of(plan: SourcePlan) -> list[Json]:
    contracts = contracts_of(plan)
    contracts.sort(key=lambda one: not one.metric.headline)
    panels = [_panel(one) for one in contracts if _is_drawn(one)]
    if all_metrics(plan) is None:
        # Which values there are is for the device or the config to decide.
        panels.append(_everything_of(plan, [one.name for one in contracts]))
    return panels


def _is_drawn(contract: Contract) -> bool:
    """Whether a metric has a panel: one that may never come would stay empty."""
    return contract.metric.panel is None or not contract.metric.panel.sometimes


def _everything_of(plan: SourcePlan, known: Iterable[str]) -> Json:
    base = metric_name(plan.id, None)
    others = "".join(f', __name__!="{name}"' for name in known)
    expression = f'{{__name__=~"{base}(_.+)?"{others}, {_INSTANCE}}}'
    panel = _timeseries(
        "values",
        f"All values of {plan.id} whose names are not known before.",
        _Query(expression, "{{__name__}}", "short"),
        Panel(),
    )
    # Their labels are not known either: without a legend Grafana shows all of them.
    del panel["targets"][0]["legendFormat"]
    return panel


def _own_panel(contract: Contract) -> Json:
    """Return the panel of a metric of pollect itself: sources and writers share some names."""
    return _panel(contract, f"{contract.source.type} {contract.metric.name}")


def _panel(contract: Contract, title: str = "") -> Json:
    metric = contract.metric
    hint = metric.panel or Panel()
    title = title or metric.name or contract.source.type
    query = _query(contract)
    if hint.states:
        return _timeline(title, metric.help, query, hint)
    if is_moment(metric):
        return _moments(title, metric.help, query)
    if _is_description(metric):
        return _table(title, metric, query)
    return _timeseries(title, metric.help, query, hint)


def _is_description(metric: Metric) -> bool:
    """Whether the labels of a metric say it all, and its value is always 1."""
    return bool(metric.labels) and (metric.name or "").rpartition("_")[2] == "info"


def _query(contract: Contract) -> _Query:
    metric = contract.metric
    chosen = f"{contract.name}{{{_INSTANCE}}}"
    names = dict.fromkeys(label_name(label) for label in metric.labels)
    legend = " ".join(f"{{{{{name}}}}}" for name in names) or metric.name or contract.name
    word = unit_word(metric.unit)
    if metric.kind is not Kind.COUNTER or word in _SHOWN_AS_COUNTED:
        return _Query(chosen, legend, grafana_unit(word))
    unit, factor = _rate_unit(word)
    rate = f"rate({chosen}[$__rate_interval])"
    return _Query(rate if factor == 1 else f"{rate} * {factor:g}", legend, unit)


def grafana_unit(unit: str) -> str:
    """Return the id of a unit in Grafana; a unit that Grafana lacks is a suffix."""
    if not unit:
        return "short"
    known = describe_unit(unit)
    if known.grafana in ("none", "short") and known.symbol and not known.is_count:
        return f"suffix: {known.symbol}"
    return known.grafana


def _rate_unit(word: str) -> tuple[str, float]:
    """Return the unit in Grafana of what a counter grows by in a second, and a factor."""
    if word in _RATES:
        return _RATES[word]
    per_second = f"{word}_per_second"
    if per_second in UNITS:
        return grafana_unit(per_second), 1.0
    symbol = describe_unit(word).symbol if word else ""
    return (f"suffix: {symbol}/s" if symbol else "cps"), 1.0


def _timeseries(title: str, help: str, query: _Query, hint: Panel) -> Json:
    defaults: Json = {
        "unit": query.unit,
        "color": {"mode": "palette-classic"},
        "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto"},
    }
    if hint.minimum is not None:
        defaults["min"] = hint.minimum
    if hint.maximum is not None:
        defaults["max"] = hint.maximum
    steps = _thresholds(hint)
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _visual("timeseries", title, help, query, defaults, options)


def _timeline(title: str, help: str, query: _Query, hint: Panel) -> Json:
    colours = {**dict.fromkeys(hint.good, _GREEN), **dict.fromkeys(hint.bad, _RED)}
    mapping = {
        f"{value:g}": {
            "text": text,
            "index": index,
            "color": colours.get(value, _NEUTRAL[index % len(_NEUTRAL)]),
        }
        for index, (value, text) in enumerate(hint.states.items())
    }
    defaults: Json = {
        "mappings": [{"type": "value", "options": mapping}],
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 70, "lineWidth": 0},
        "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": _NEUTRAL[0]}]},
    }
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _visual("state-timeline", title, help, query, defaults, options)


def _moments(title: str, help: str, query: _Query) -> Json:
    """Return a panel that says how long ago something was, or when it will be."""
    # Grafana counts milliseconds.
    query = query._replace(expression=f"{query.expression} * 1000")
    defaults: Json = {"unit": "dateTimeFromNow", "color": {"mode": "fixed", "fixedColor": "text"}}
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "orientation": "auto",
        "textMode": "auto",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
    }
    return _visual("stat", title, help, query, defaults, options)


def _table(title: str, metric: Metric, query: _Query) -> Json:
    """Return a panel with the labels of a metric as columns."""
    wanted = "|".join(label_name(label) for label in metric.labels)
    only = {
        "id": "filterFieldsByName",
        "options": {"include": {"pattern": f"^({wanted}|instance)$"}},
    }
    panel = _visual("table", title, metric.help, query, {}, {"showHeader": True})
    panel["targets"][0] |= {"format": "table", "instant": True, "range": False}
    return {**panel, "transformations": [only]}


def _visual(type: str, title: str, help: str, query: _Query, defaults: Json, options: Json) -> Json:
    target = {
        "refId": "A",
        "datasource": _DATASOURCE,
        "expr": query.expression,
        "legendFormat": query.legend,
        "editorMode": "code",
        "range": True,
    }
    return {
        "type": type,
        "title": title,
        "description": help,
        "datasource": _DATASOURCE,
        "targets": [target],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _thresholds(hint: Panel) -> list[Json]:
    """Return colours from the lowest value up; small values are bad if red is below amber."""
    amber, red = hint.amber, hint.red
    if amber is None and red is None:
        return []
    if amber is not None and red is not None and red < amber:
        return [
            {"value": None, "color": _RED},
            {"value": red, "color": _AMBER},
            {"value": amber, "color": _GREEN},
        ]
    steps: list[Json] = [{"value": None, "color": _GREEN}]
    steps += [{"value": amber, "color": _AMBER}] if amber is not None else []
    steps += [{"value": red, "color": _RED}] if red is not None else []
    return steps


def _variables(plan: Plan) -> list[Json]:
    own = [*self_contracts(plan), *(c for s in sources_of(plan) for c in contracts_of(s))]
    asked = f"label_values({own[0].name}, instance)" if own else "label_values(up, instance)"
    return [
        {
            "name": "datasource",
            "type": "datasource",
            "label": "data source",
            "query": "prometheus",
            "hide": 0,
        },
        {
            "name": "instance",
            "type": "query",
            "label": "instance",
            "datasource": _DATASOURCE,
            "query": asked,
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
            "sort": 1,
            "hide": 0,
        },
    ]
