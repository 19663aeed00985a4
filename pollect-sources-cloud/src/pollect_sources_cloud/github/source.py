"""Source `GitHub`: stars, issues, pull requests, workflow runs and downloads of repositories.

A probe makes four requests per repository and one more per workflow that has not run for long. Each
carries the ETag of the last answer, so that an unchanged repository costs nothing of the rate limit
(5000 calls an hour with a token, 60 without; without one unchanged answers count as well). Needs no
third-party library.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar
from urllib.parse import quote

from msgspec import Meta

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    Alert,
    ConfigError,
    Headline,
    Kind,
    Metric,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.http import HttpClient
from pollect.support.quota import shared_budget
from pollect_sources_cloud.endpoints import check_endpoint
from pollect_sources_cloud.github.client import GitHub, NotFound
from pollect_sources_cloud.github.payload import (
    Release,
    Run,
    parse_count,
    parse_releases,
    parse_repository,
    parse_runs,
    parse_workflows,
)
from pollect_sources_cloud.limits import CONNECT_SECONDS, Limit

API = "https://api.github.com"
ANSWER_SECONDS = 30.0
#: Of releases; beyond, downloads are not counted.
MAX_PAGES = 10
PAGE = 100

_REPOSITORY = ("repository",)
_WORKFLOW = ("repository", "workflow")
STARS = Metric(
    "stars", help="Stars of the repository.", labels=_REPOSITORY, headline=Headline("stars")
)
ISSUES = Metric(
    "open_issues",
    help="Open issues, pull requests excepted.",
    labels=_REPOSITORY,
    headline=Headline("issues"),
)
PULLS = Metric("open_pull_requests", help="Open pull requests.", labels=_REPOSITORY)
SUCCESS = Metric(
    "workflow_success",
    help="Whether the newest run of the workflow that has ended was a success: 1 or 0.",
    labels=_WORKFLOW,
    headline=Headline("succeeded"),
    panel=YES_IS_GOOD,
    alert=Alert("WorkflowFailed", "the newest run of a workflow was no success", below=1),
)
CONCLUSION = Metric(
    "workflow_conclusion",
    help="Always 1; the label tells how that run ended.",
    labels=(*_WORKFLOW, "conclusion"),
)
DURATION = Metric(
    "workflow_duration_seconds",
    help="Time from the start of that run to its end.",
    unit="seconds",
    labels=_WORKFLOW,
)
ENDED = Metric(
    "workflow_timestamp_seconds",
    help="Unix time at which that run ended.",
    unit="seconds",
    labels=_WORKFLOW,
)
DOWNLOADS = Metric(
    "downloads",
    help="Downloads of the files of all releases.",
    kind=Kind.COUNTER,
    labels=_REPOSITORY,
)
RELEASE_DOWNLOADS = Metric(
    "release_downloads",
    help="Downloads of the files of a release.",
    kind=Kind.COUNTER,
    labels=("repository", "release"),
)
LEFT = Metric("rate_limit_remaining", help="Calls left of the rate limit in this hour.")
LIMIT = Metric("rate_limit", help="Calls of the rate limit in an hour.")
FORKS = Metric("forks", help="Forks of the repository.", labels=_REPOSITORY, panel=DETAIL)
WATCHERS = Metric(
    "watchers", help="Users who watch the repository.", labels=_REPOSITORY, panel=DETAIL
)
SIZE = Metric(
    "size_bytes", help="Size of the repository.", unit="bytes", labels=_REPOSITORY, panel=DETAIL
)
PUSHED = Metric(
    "pushed_timestamp_seconds",
    help="Unix time of the last push.",
    unit="seconds",
    labels=_REPOSITORY,
    panel=DETAIL,
)
RELEASED = Metric(
    "released_timestamp_seconds",
    help="Unix time of the newest release.",
    unit="seconds",
    labels=_REPOSITORY,
    panel=DETAIL,
)

ResultT = TypeVar("ResultT")


class GitHubConfig(SourceConfig, frozen=True, kw_only=True):
    repositories: Annotated[
        list[str], Meta(min_length=1, description="Repositories as owner/name.")
    ]
    token: Annotated[
        Secret | None,
        Meta(
            description="Access token; without one only public repositories, and 60 calls an hour."
        ),
    ] = None
    branch: Annotated[
        str | None, Meta(description="Only runs of this branch count; default: of any.")
    ] = None
    workflows: Annotated[bool, Meta(description="Report the runs of workflows.")] = True
    releases: Annotated[
        int, Meta(ge=0, le=PAGE, description="Newest releases to report by themselves.")
    ] = 5
    endpoint: Annotated[
        str, Meta(description="Base URL of the API; https://HOST/api/v3 of a server of your own.")
    ] = API
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        ANSWER_SECONDS
    )


class GitHubSource(Source[GitHubConfig]):
    """Stars, issues, pull requests, runs and downloads of some repositories."""

    config_type = GitHubConfig
    metrics = (
        STARS,
        ISSUES,
        PULLS,
        SUCCESS,
        CONCLUSION,
        DURATION,
        ENDED,
        DOWNLOADS,
        RELEASE_DOWNLOADS,
        LEFT,
        LIMIT,
        FORKS,
        WATCHERS,
        SIZE,
        PUSHED,
        RELEASED,
    )

    def __init__(self, config: GitHubConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        for index, name in enumerate(config.repositories):
            if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", name):
                raise ConfigError(
                    f"expected owner/name, got {name!r}", key=f"repositories[{index}]"
                )
        self._names = list(dict.fromkeys(config.repositories))
        self._endpoint = check_endpoint(config.endpoint, key="endpoint")
        self._limit = Limit(self._endpoint, config.timeout or ANSWER_SECONDS)
        account = config.token.reveal() if config.token else ""
        owner = f"{self._endpoint} {account}"
        self._budget = shared_budget(context, "github", owner)
        self._http: HttpClient | None = None
        self._github: GitHub | None = None

    def open(self) -> None:
        self.close()
        self._http = HttpClient(timeout=self._limit.answer_seconds, connect_timeout=CONNECT_SECONDS)
        self._github = GitHub(
            self._endpoint,
            token=self.config.token,
            http=self._http,
            limit=self._limit,
            budget=self._budget,
        )

    def probe(self) -> list[Sample]:
        if self._github is None:
            raise ProbeError("not open")
        github = self._github
        self._limit.begin_probe()
        github.begin()
        samples: list[Sample] = []
        errors: list[ProbeError] = []
        for name in self._names:
            try:
                samples += list(self._repository(github, name))
            except TargetUnavailable:
                raise  # of the service, whatever the repository
            except ProbeError as error:
                errors.append(error)
                self.troubles.failed(name, error, type(error).__name__)
            else:
                self.troubles.works(name)
        github.forget_the_rest()
        if len(errors) == len(self._names):
            raise errors[0]
        if github.rate_limit is not None:
            left, calls = github.rate_limit
            samples += [LEFT.sample(left), LIMIT.sample(calls)]
        return samples

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = self._github = None

    def deadline_seconds(self) -> float:
        return self._limit.deadline_seconds(self.context.interval)

    def _repository(self, github: GitHub, name: str) -> Iterator[Sample]:
        path = f"/repos/{name}"
        facts = github.get(path, parse_repository).value
        yield STARS.sample(facts.stars, name)
        pulls = self._part(name, "pull requests", lambda: self._count_pulls(github, path))
        if pulls is not None:  # else the number of issues is not known either
            yield PULLS.sample(pulls, name)
            yield ISSUES.sample(max(0, facts.issues_and_pulls - pulls), name)
        if self.config.details:
            yield FORKS.sample(facts.forks, name)
            yield WATCHERS.sample(facts.watchers, name)
            yield SIZE.sample(facts.size_bytes, name)
            if facts.pushed is not None:
                yield PUSHED.sample(facts.pushed, name)
        if self.config.workflows:
            yield from self._runs(github, name)
        yield from self._downloads(github, name)

    def _count_pulls(self, github: GitHub, path: str) -> int:
        page = github.get(f"{path}/pulls?state=open&per_page=1", parse_count)
        # One a page: the number of pages is that of pull requests.
        return page.pages if page.pages is not None else page.value

    def _runs(self, github: GitHub, name: str) -> Iterator[Sample]:
        for run in self._part(name, "workflows", lambda: self._newest_runs(github, name)) or ():
            labels = (name, run.workflow)
            yield SUCCESS.sample(int(run.conclusion == "success"), *labels)
            yield CONCLUSION.sample(1, *labels, run.conclusion)
            yield DURATION.sample(run.duration_seconds, *labels)
            yield ENDED.sample(run.ended, *labels)

    def _newest_runs(self, github: GitHub, name: str) -> list[Run]:
        """Return the newest run of each workflow; of those that ran long ago each by itself."""
        path = f"/repos/{name}/actions"
        branch = f"&branch={quote(self.config.branch, safe='')}" if self.config.branch else ""
        query = f"status=completed{branch}"
        page = github.get(f"{path}/runs?{query}&per_page={PAGE}", parse_runs)
        problems = list(page.value.problems)
        found = {run.workflow: run for run in page.value.found}
        if page.next_url is not None:
            workflows = github.get(f"{path}/workflows?per_page={PAGE}", parse_workflows).value
            for number, workflow in workflows.items():
                if workflow not in found:
                    only = f"{path}/workflows/{number}/runs?{query}&per_page=1"
                    runs = github.get(only, parse_runs).value
                    problems += runs.problems
                    for run in runs.found:
                        found.setdefault(run.workflow, run)
        self.troubles.note(f"{name}: entries of runs", problems)
        return list(found.values())

    def _downloads(self, github: GitHub, name: str) -> Iterator[Sample]:
        releases = self._part(name, "releases", lambda: self._all_releases(github, name))
        if releases is None:
            return
        # Without one of them the sum would be less than it was.
        if releases and _releases_of(name) not in self.troubles:
            yield DOWNLOADS.sample(sum(release.downloads for release in releases), name)
        shown = {release.tag: release for release in releases[: self.config.releases]}
        for release in shown.values():
            yield RELEASE_DOWNLOADS.sample(release.downloads, name, release.tag)
        published = [release.published for release in releases if release.published is not None]
        if self.config.details and published:
            yield RELEASED.sample(max(published), name)

    def _all_releases(self, github: GitHub, name: str) -> list[Release]:
        found: list[Release] = []
        problems: list[str] = []
        url: str | None = f"/repos/{name}/releases?per_page={PAGE}"
        for _ in range(MAX_PAGES):
            if url is None:
                break
            page = github.get(url, parse_releases)
            found += page.value.found
            problems += page.value.problems
            url = page.next_url
        self.troubles.note(_releases_of(name), problems)
        return found

    def _part(self, name: str, part: str, read: Callable[[], ResultT]) -> ResultT | None:
        """Return a part of a repository that may be switched off or hidden; None if it is."""
        where = f"{name}: {part}"
        try:
            found = read()
        except NotFound:
            self.troubles.works(where)
            return None
        except TargetUnavailable:
            raise  # of the service, whatever the part
        except ProbeError as error:
            # A token of the newer kind has a permission for each part.
            self.troubles.failed(where, error, type(error).__name__)
            return None
        self.troubles.works(where)
        return found


def _releases_of(name: str) -> str:
    """Return what the troubles call the entries of the list of releases."""
    return f"{name}: entries of releases"
