"""What a reload changed, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pollect.engine.plan import Plan, SourcePlan
from pollect.model import SourceId
from pollect.plugin import Writer


def describe_changes(old: Plan, new: Plan) -> list[str]:
    """Return one line for each source and writer that a new plan adds, takes away or replaces."""
    return [*_sources(_by_id(old), _by_id(new)), *_writers(_by_name(old), _by_name(new))]


def count_changes(old: Plan, new: Plan) -> str:
    """Say how many sources a new plan adds, takes away and replaces."""
    before, now = _plans(old), _plans(new)
    both = before.keys() & now.keys()
    changed = sum(not now[source].is_same(before[source]) for source in both)
    counts = ((len(now) - len(both), "added"), (len(before) - len(both), "removed"))
    parts = [f"{count:,} {word}" for count, word in (*counts, (changed, "changed")) if count]
    return f"{', '.join(parts) or 'none changed'}, {len(now):,} sources in all"


def _plans(plan: Plan) -> dict[SourceId, SourcePlan]:
    return {source.id: source for executor in plan.executors for source in executor.sources}


def _sources(old: Mapping[str, SourcePlan], new: Mapping[str, SourcePlan]) -> Iterator[str]:
    for name, plan in new.items():
        if name not in old:
            yield f"source {name} added"
        elif not plan.is_same(old[name]):
            yield f"source {name} changed"
    yield from (f"source {name} removed" for name in old if name not in new)


def _writers(old: Mapping[str, Writer[Any]], new: Mapping[str, Writer[Any]]) -> Iterator[str]:
    kept = {id(writer) for writer in old.values()}
    goes_on = {id(writer) for writer in new.values()}
    for name, writer in new.items():
        if id(writer) not in kept:
            yield f"writer {name} {'changed' if name in old else 'added'}"
    for name, writer in old.items():
        if id(writer) not in goes_on and name not in new:
            yield f"writer {name} removed"


def _by_id(plan: Plan) -> dict[str, SourcePlan]:
    return {str(source.id): source for executor in plan.executors for source in executor.sources}


def _by_name(plan: Plan) -> dict[str, Writer[Any]]:
    writers: Sequence[Writer[Any]] = [
        writer for executor in plan.executors for writer in executor.writers
    ]
    return {writer.context.name: writer for writer in writers}
