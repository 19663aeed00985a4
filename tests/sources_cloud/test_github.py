"""GitHub against a service with tokens, ETags, pages and a rate limit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
)
from pollect_sources_cloud.github.source import GitHubSource
from tests.simulators.github import RESET, GitHub, release, run
from tests.sources_network.driver import series_of

NAME, OTHER, TOKEN = "octo/engine", "octo/other.js", "hush-token"


class World:
    def __init__(self, github: GitHub, folder: Path) -> None:
        self.github = github
        self.folder = folder
        self.clock = FakeClock(time=RESET - 3600.0)

    def source(self, *names: str, **options: Any) -> GitHubSource:
        section = {
            "repositories": list(names or (NAME,)),
            "endpoint": self.github.url,
            "token": TOKEN,
            **options,
        }
        source = build_source(
            section, GitHubSource, clock=self.clock, state_dir=self.folder, collection="code"
        )
        assert isinstance(source, GitHubSource)
        return source

    def series(self, *names: str, **options: Any) -> dict[str, float]:
        with Running(self.source(*names, **options)) as running:
            return series_of(running.probe())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with GitHub(token=TOKEN) as github:
        github.add(NAME)
        yield World(github, tmp_path)


def test_everything_of_a_repository(world, golden) -> None:
    parts = world.github.repositories[NAME]
    parts["actions/runs"] = [
        run(1, None, at="2023-11-14T21:30:00Z", name="CI"),
        run(1, "failure", at="2023-11-14T21:00:00Z", minutes=7, name="CI"),
        run(1, "success", name="CI"),
        run(2, "success", at="2023-11-13T23:00:00Z", minutes=2, name="Release"),
    ]
    parts["releases"] = [release("v3", draft=True), release("v2", 10, 5), release("v1", 100)]
    source = world.source(details=True)
    with Running(source) as running:
        golden("github.txt", format_samples(source, running.probe()))


def test_an_unchanged_repository_costs_nothing(world) -> None:
    parts = world.github.repositories[NAME]
    with Running(world.source()) as running:
        first = series_of(running.probe())
        used = world.github.used
        for _ in range(5):
            assert series_of(running.probe()) == first
        assert world.github.used == used
        assert world.github.not_modified == 5 * used
        parts[""]["stargazers_count"] = 81
        changed = series_of(running.probe())
        assert changed['stars{repository="octo/engine"}'] == 81
        assert world.github.used == used + 1
        assert changed["rate_limit_remaining"] == 5000 - used - 1


def test_pull_requests_are_counted_by_pages_and_are_no_issues(world) -> None:
    series = world.series()
    assert series['open_pull_requests{repository="octo/engine"}'] == 3
    assert series['open_issues{repository="octo/engine"}'] == 4
    parts = world.github.repositories[NAME]
    for count in (1, 0):
        parts["pulls"] = parts["pulls"][:count]
        series = world.series()
        assert series['open_pull_requests{repository="octo/engine"}'] == count
        assert series['open_issues{repository="octo/engine"}'] == 7 - count


def test_workflow_that_ran_before_the_last_hundred_runs_is_found(world) -> None:
    parts = world.github.repositories[NAME]
    parts["actions/runs"] = [run(1, "success", name="CI")] * 150 + [
        run(2, "failure", name="Yearly")
    ]
    parts["actions/workflows"] = [
        {"id": 1, "name": "CI", "state": "active"},
        {"id": 2, "name": "Yearly", "state": "active"},
        {"id": 3, "name": "Off", "state": "disabled_manually"},
    ]
    series = world.series()
    assert series['workflow_success{repository="octo/engine",workflow="CI"}'] == 1
    assert series['workflow_success{repository="octo/engine",workflow="Yearly"}'] == 0
    assert not any("workflows/3" in request.target for request in world.github.requests)


def test_runs_of_one_branch(world) -> None:
    world.github.repositories[NAME]["actions/runs"] = [
        run(1, "failure", branch="fix/a b", name="CI", at="2023-11-14T21:00:00Z"),
        run(1, "success", name="CI"),
    ]
    success = 'workflow_success{repository="octo/engine",workflow="CI"}'
    assert world.series()[success] == 0
    assert world.series(branch="main")[success] == 1
    assert world.series(branch="fix/a b")[success] == 0
    assert not any(name.startswith("workflow") for name in world.series(workflows=False))


def test_downloads_of_all_pages_and_the_newest_releases_by_themselves(world) -> None:
    releases = [release(f"v{number}", number) for number in range(250, 0, -1)]
    world.github.repositories[NAME]["releases"] = releases
    series = world.series(releases=2)
    assert series['downloads{repository="octo/engine"}'] == sum(range(251))
    shown = {name for name in series if name.startswith("release_downloads")}
    assert shown == {
        f'release_downloads{{repository="octo/engine",release="v{number}"}}'
        for number in (250, 249)
    }


def test_one_repository_that_fails_costs_the_others_nothing(world) -> None:
    source = world.source(OTHER, NAME)
    with Running(source) as running:
        series = series_of(running.probe())
        assert series['stars{repository="octo/engine"}'] == 80
        assert "octo/other.js: /repos/octo/other.js: not found" in str(source.troubles)
        world.github.add(OTHER)
        assert series_of(running.probe())['stars{repository="octo/other.js"}'] == 80
        assert not source.troubles


@pytest.mark.parametrize("end", ["/runs", "/releases"])
def test_part_that_is_switched_off_or_hidden_costs_only_itself(world, end) -> None:
    source = world.source()
    with Running(source) as running:
        world.github.instead[end] = HttpResponse({"message": "Not Found"}, 404)
        assert series_of(running.probe())['stars{repository="octo/engine"}'] == 80
        assert not source.troubles
        forbidden = {"message": "Resource not accessible by personal access token"}
        world.github.instead[end] = HttpResponse(forbidden, 403)
        assert series_of(running.probe())['stars{repository="octo/engine"}'] == 80
        assert "may not read this: Resource not accessible" in str(source.troubles)


def test_used_up_rate_limit_is_waited_for_until_its_reset(world) -> None:
    world.github.used = world.github.limit
    with Running(world.source()) as running:
        with pytest.raises(TargetUnavailable) as caught:
            running.probe()
        assert caught.value.retry_in == 3600
        world.github.used = 0
        world.clock.advance(3599)
        with pytest.raises(TargetUnavailable, match="until"):
            running.probe()
        assert len(world.github.requests) == 1
        world.clock.advance(1)
        running.probe()


def test_secondary_rate_limit_names_its_own_pause(world) -> None:
    message = {"message": "You have exceeded a secondary rate limit."}
    world.github.instead["/pulls"] = HttpResponse(message, 403, {"Retry-After": "60"})
    with Running(world.source()) as running, pytest.raises(TargetUnavailable) as caught:
        running.probe()
    assert caught.value.retry_in == 60


LIMITS = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"message": "Slow down.", "documentation_url": f"{LIMITS}#secondary-rate-limits"}),
        (429, {"message": "Slow down."}),
    ],
)
def test_a_limit_without_a_pause_is_waited_for_as_well(world, status: int, body: Any) -> None:
    world.github.instead["/pulls"] = HttpResponse(body, status)
    with Running(world.source()) as running:
        with pytest.raises(TargetUnavailable):
            running.probe()
        asked = len(world.github.requests)
        with pytest.raises(TargetUnavailable):
            running.probe()
        assert len(world.github.requests) == asked


def test_a_refusal_that_mentions_limits_is_no_limit(world) -> None:
    message = {"message": "This token may not read the rate limit of an organisation."}
    world.github.instead["/pulls"] = HttpResponse(message, 403)
    source = world.source()
    with Running(source) as running:
        series = series_of(running.probe())
        assert series['stars{repository="octo/engine"}'] == 80
        assert not any(name.startswith("open_") for name in series)
        assert "pull requests: /repos/octo/engine/pulls" in str(source.troubles)
        assert len(world.github.requests) > 2


@pytest.mark.parametrize("end", ["/pulls", "/runs", "/releases"])
@pytest.mark.parametrize(
    "answer", [HttpResponse("", 500), HttpResponse("<html>"), HttpResponse({})]
)
def test_a_part_that_makes_no_sense_costs_only_itself(world, end, answer) -> None:
    world.github.instead[end] = answer
    source = world.source()
    with Running(source) as running:
        assert series_of(running.probe())['stars{repository="octo/engine"}'] == 80
        assert end in str(source.troubles)


def test_one_run_or_release_that_makes_no_sense_costs_only_itself(world) -> None:
    parts = world.github.repositories[NAME]
    broken = {**run(2, "success", name="Broken"), "updated_at": None}
    nameless = {"status": "completed", "head_branch": "main", "conclusion": "success"}
    parts["actions/runs"] = [broken, nameless, run(1, "failure", name="CI")]
    odd = {**release("v2", 9), "assets": [{"download_count": None}]}
    parts["releases"] = [odd, release("v1", 5)]
    source = world.source()
    with Running(source) as running:
        series = series_of(running.probe())
        assert series['workflow_success{repository="octo/engine",workflow="CI"}'] == 0
        assert series['release_downloads{repository="octo/engine",release="v1"}'] == 5
        assert 'downloads{repository="octo/engine"}' not in series, "a counter would fall"
        problems = str(source.troubles)
        assert "octo/engine: entries of runs: entry " in problems
        assert "octo/engine: entries of releases: entry v2: another shape" in problems
        parts["releases"] = [release("v2", 9), release("v1", 5)]
        assert series_of(running.probe())['downloads{repository="octo/engine"}'] == 14


@pytest.mark.parametrize(
    ("answer", "kind", "complaint"),
    [
        (HttpResponse("<html>"), BadResponse, "expected JSON"),
        (HttpResponse([]), BadResponse, "another shape"),
        (HttpResponse({"stargazers_count": "many"}), BadResponse, "another shape"),
        (HttpResponse('{"stargazers_count": 1e999}'), BadResponse, "another shape"),
        (HttpResponse({"message": "oops"}, 500), BadResponse, "status 500: oops"),
        (Misbehaviour.HANG_UP, ProbeError, "127"),
    ],
)
def test_what_is_no_repository_is_a_failure(world, answer, kind, complaint) -> None:
    world.github.instead[f"/{NAME}"] = answer
    with Running(world.source()) as running, pytest.raises(kind, match=complaint):
        running.probe()


def test_wrong_token_is_reported_and_never_shown(world) -> None:
    source = world.source(token="hush-wrong")
    with Running(source) as running, pytest.raises(AuthenticationFailed) as caught:
        running.probe()
    assert "the token is refused: Bad credentials" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_public_repositories_need_no_token(tmp_path) -> None:
    with GitHub(limit=60) as github:
        github.add(NAME)
        world = World(github, tmp_path)
        source = build_source(
            {"repositories": [NAME], "endpoint": github.url},
            GitHubSource,
            clock=world.clock,
            state_dir=tmp_path,
        )
        with Running(source) as running:
            assert series_of(running.probe())["rate_limit"] == 60
        assert "Authorization" not in github.requests[0].headers


@pytest.mark.parametrize("name", ["octo", "octo/a/b", "octo/../x y", "https://github.com/octo/a"])
def test_repository_is_written_as_owner_and_name(world, name) -> None:
    with pytest.raises(ConfigError, match=r"repositories\[0\]: expected owner/name"):
        world.source(name)
