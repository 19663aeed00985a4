"""The answers of the API, parsed. Pure; JSON of another shape raises LookupError or TypeError."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")
#: What reading JSON of another shape raises.
SHAPE_ERRORS = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Repository:
    """Counts of a repository; pull requests are issues, too."""

    stars: int
    forks: int
    watchers: int
    issues_and_pulls: int
    size_bytes: int
    #: Unix time in seconds of the last push, None for none.
    pushed: float | None


@dataclass(frozen=True)
class Run:
    """A run of a workflow that has ended."""

    workflow: str
    conclusion: str
    #: Unix time in seconds of its end.
    ended: float
    duration_seconds: float


@dataclass(frozen=True)
class Release:
    """Downloads of all files of a release."""

    tag: str
    downloads: int
    #: Unix time in seconds, None for a draft.
    published: float | None


@dataclass(frozen=True)
class Items(Generic[ItemT]):
    """The entries of a page, and what is wrong with those that cannot be read."""

    found: list[ItemT]
    problems: list[str] = field(default_factory=list)


def parse_repository(data: Any) -> Repository:
    """Return the counts of a repository."""
    return Repository(
        stars=int(data["stargazers_count"]),
        forks=int(data["forks_count"]),
        watchers=int(data.get("subscribers_count") or 0),
        issues_and_pulls=int(data["open_issues_count"]),
        size_bytes=int(data.get("size") or 0) * 1024,
        pushed=moment(data["pushed_at"]) if data.get("pushed_at") else None,
    )


def parse_count(data: Any) -> int:
    """Return the length of a page."""
    if not isinstance(data, list):
        raise TypeError("expected a list")
    return len(data)


def parse_runs(data: Any) -> Items[Run]:
    """Return the newest run of each workflow in a page, by its name."""
    newest: dict[Any, Run] = {}
    read = _each(data["workflow_runs"], _parse_run)
    for workflow, found in filter(None, read.found):
        known = newest.get(workflow)
        if known is None or found.ended > known.ended:
            newest[workflow] = found
    # Two workflows may have one name; the newer run stands for it.
    by_name = {run.workflow: run for run in sorted(newest.values(), key=lambda run: run.ended)}
    return Items(list(by_name.values()), read.problems)


def _parse_run(run: Any) -> tuple[Any, Run] | None:
    """Return the id of a run's workflow, and the run; None if it has not ended."""
    if not run.get("conclusion"):
        return None
    ended = moment(run["updated_at"])
    started = moment(run.get("run_started_at") or run["created_at"])
    found = Run(
        workflow=str(run.get("name") or run.get("path") or run["workflow_id"]),
        conclusion=str(run["conclusion"]),
        ended=ended,
        duration_seconds=max(0.0, ended - started),
    )
    return run["workflow_id"], found


def parse_workflows(data: Any) -> dict[int, str]:
    """Return the ids and names of the workflows that are not switched off."""
    return {
        int(workflow["id"]): str(workflow.get("name") or workflow["path"])
        for workflow in data["workflows"]
        if workflow.get("state", "active") == "active"
    }


def parse_releases(data: Any) -> Items[Release]:
    """Return the releases of a page, as they are: the newest first."""
    if not isinstance(data, list):
        raise TypeError("expected a list")
    read = _each(data, _parse_release)
    return Items([release for release in read.found if release is not None], read.problems)


def _parse_release(release: Any) -> Release | None:
    if release.get("draft"):
        return None
    return Release(
        tag=str(release["tag_name"]),
        downloads=sum(int(asset["download_count"]) for asset in release.get("assets") or ()),
        published=moment(release["published_at"]) if release.get("published_at") else None,
    )


def _each(entries: Iterable[Any], parse: Callable[[Any], ItemT]) -> Items[ItemT]:
    """Parse each entry; one of another shape costs only itself."""
    read: Items[ItemT] = Items([])
    for number, entry in enumerate(entries):
        try:
            read.found.append(parse(entry))
        except SHAPE_ERRORS as error:
            name = entry.get("tag_name") or entry.get("id") if isinstance(entry, dict) else None
            what = f"{type(error).__name__}: {error}"
            read.problems.append(f"entry {name or number}: another shape than expected: {what:.80}")
    return read


def moment(text: str) -> float:
    """Return Unix time in seconds of a time in ISO 8601."""
    return datetime.fromisoformat(text).timestamp()
