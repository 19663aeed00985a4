"""What a running daemon answers on its control socket."""

import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pollect.config.reading import read_document
from pollect.daemon.control import Command
from pollect.daemon.overview import Overview
from pollect.engine.plan import SourcePlan
from pollect.errors import ConfigError, PollectError, TargetUnavailable, describe
from pollect.model import Outcome, Reload
from pollect.status import Explanation, ProbeAnswer, SourceDetail
from pollect.support.names import metric_name

#: Seconds to wait for the end of a reload, which is given up after 30.
RELOAD_WAIT_SECONDS = 60.0

#: Names that are listed for one that is wrong.
_MOST_NAMES = 12
#: Reloads; calls back with what came of it.
AskReload = Callable[[Callable[[Reload], None]], None]


def commands(overview: Overview, ask_reload: AskReload) -> Mapping[str, Command]:
    """Return the commands by their names."""
    return {
        "status": lambda request: overview.status(),
        "source": lambda request: _one(overview, _text(request, "source")),
        "explain": lambda request: _explain(overview, _text(request, "metric")),
        "probe": lambda request: _probe(overview, _text(request, "source")),
        "reload": lambda request: _reload(ask_reload),
    }


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise PollectError(f"expected a text as {key!r}")
    return value


def _one(overview: Overview, wanted: str) -> SourceDetail:
    detail = overview.detail(_id_of(overview, wanted))
    if detail is None:  # a reload took it away this moment
        raise PollectError(f"no source {wanted!r}")
    return detail


def _id_of(overview: Overview, wanted: str) -> str:
    """Return the id of the source that a user means: by id, by type, by name."""
    plans = overview.plans()
    for plan in plans:
        if str(plan.id) == wanted:
            return wanted
    found = [
        str(plan.id)
        for plan in plans
        if wanted in (plan.id.type, plan.id.name, f"{plan.id.type}/{plan.id.name}")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise PollectError(f"{wanted!r} may mean any of: {', '.join(found)}")
    known = list(dict.fromkeys(str(plan.id) for plan in plans))
    raise PollectError(f"no source {wanted!r}; {_meant(wanted, known)}")


def _meant(wanted: str, known: Sequence[str]) -> str:
    """Return what the user of a wrong name probably meant, or what there is."""
    from pollect.config.suggestions import most_similar

    if similar := most_similar(wanted, known):
        return f"did you mean {similar!r}?"
    if len(known) > _MOST_NAMES:
        return "`pollect status` lists the sources"
    return f"there are: {', '.join(known)}"


def _probe(overview: Overview, wanted: str) -> ProbeAnswer:
    source = _id_of(overview, wanted)
    result = overview.probe_now(source)
    if result is None:
        raise PollectError(f"no source {wanted!r}")
    return ProbeAnswer(
        outcome=result.outcome.value,
        healthy=result.outcome.healthy,
        error="" if result.outcome is Outcome.NO_DATA else describe(result.error),
        troubles=result.troubles,
        duration_seconds=result.duration_seconds,
        source=_one(overview, source),
    )


def _reload(ask_reload: AskReload) -> Reload:
    outcomes: queue.SimpleQueue[Reload] = queue.SimpleQueue()
    ask_reload(outcomes.put)
    try:
        return outcomes.get(timeout=RELOAD_WAIT_SECONDS)
    except queue.Empty:
        raise TargetUnavailable(
            f"the reload has not ended within {RELOAD_WAIT_SECONDS:g} s; the log says more"
        ) from None


def _explain(overview: Overview, wanted: str) -> Explanation:
    """Return where a metric comes from and how it gets to whom."""
    name = wanted.partition("{")[0].strip()
    plan = next((plan for plan in overview.plans() if name in overview.metrics_of(plan)), None)
    if plan is None:
        # Not seen yet, left out by a filter, or withdrawn: its name still says the source.
        plans = [
            plan
            for plan in overview.plans()
            if name == metric_name(plan.written_id, None)
            or name.startswith(metric_name(plan.written_id, None) + "_")
        ]
        if not plans:
            known = [metric for plan in overview.plans() for metric in overview.metrics_of(plan)]
            raise PollectError(f"no source has a metric {name!r}; {_meant(name, sorted(known))}")
        plan = max(plans, key=lambda plan: len(plan.written_id.dotted))
    detail = _one(overview, str(plan.id))
    path, line = _place(overview, plan)
    names = overview.writers_of(plan)
    return Explanation(
        metric=name,
        source=detail,
        place=path,
        line=line,
        include=plan.filter.include,
        exclude=plan.filter.exclude,
        filters=[
            f"{getattr(f, '__module__', '')}.{getattr(f, '__qualname__', type(f).__name__)}"
            for f in overview.plan.filters
        ],
        values=[value for value in detail.values if value.metric == name],
        writers=[one for one in overview.status().writers if one.name in names],
    )


def _place(overview: Overview, plan: SourcePlan) -> tuple[str, int | None]:
    """Return where a source stands in its config: the path, and the line as the file is now."""
    try:
        place = read_document(overview.file).place_of(plan.path)
    except ConfigError:
        return plan.path, None
    return plan.path, place.line if place else None
