"""The REST API of GitHub, as far as a repository is read: tokens, ETags, pages, the rate limit.

The shapes are those of the examples in GitHub's documentation, shortened.
"""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl

from pollect.testing import HttpRequest, HttpResponse, HttpServer

RESET = 1_700_003_600


class GitHub(HttpServer):
    """Repositories that a test changes at will."""

    def __init__(self, token: str = "", limit: int = 5000) -> None:
        super().__init__(self._answer)
        self.token = token
        self.limit = limit
        self.used = 0
        #: Owner/name -> path below the repository -> JSON.
        self.repositories: dict[str, dict[str, Any]] = {}
        #: End of a path -> the answer instead.
        self.instead: dict[str, Any] = {}
        self.not_modified = 0

    def add(self, name: str) -> dict[str, Any]:
        """Add a repository, and return its parts."""
        parts = {
            "": {
                "full_name": name,
                "stargazers_count": 80,
                "forks_count": 9,
                "subscribers_count": 42,
                "open_issues_count": 7,
                "size": 108,
                "pushed_at": "2023-11-14T22:00:00Z",
            },
            "pulls": [{"number": number, "state": "open"} for number in (3, 2, 1)],
            "actions/runs": [],
            "actions/workflows": [],
            "releases": [],
        }
        self.repositories[name] = parts
        return parts

    def _answer(self, request: HttpRequest) -> Any:
        headers = request.headers
        if self.token and headers["Authorization"] != f"Bearer {self.token}":
            return self._limited(HttpResponse({"message": "Bad credentials"}, 401))
        if not headers["User-Agent"] or headers["Accept"] != "application/vnd.github+json":
            return HttpResponse({"message": "Request forbidden by administrative rules."}, 403)
        for end, answer in self.instead.items():
            if request.path.endswith(end):
                return answer
        if self.used >= self.limit:
            message = {"message": "API rate limit exceeded for user ID 1."}
            return self._limited(HttpResponse(message, 403))
        found = self._found(request)
        if found is None:
            self.used += 1
            return self._limited(HttpResponse({"message": "Not Found"}, 404))
        body, link = found
        etag = f'W/"{hashlib.sha256(json.dumps([body, link]).encode()).hexdigest()}"'
        extra = {"ETag": etag, **({"Link": link} if link else {})}
        if headers["If-None-Match"] == etag:
            self.not_modified += 1
            self.used += 0 if self.token else 1
            return self._limited(HttpResponse("", 304, extra))
        self.used += 1
        return self._limited(HttpResponse(body, 200, extra))

    def _limited(self, answer: HttpResponse) -> HttpResponse:
        limits = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self.used),
            "X-RateLimit-Reset": str(RESET),
        }
        return HttpResponse(answer.body, answer.status, {**answer.headers, **limits})

    def _found(self, request: HttpRequest) -> tuple[Any, str] | None:
        """Return the JSON of a path, and where its pages go on."""
        _, _, owner, name, *rest = [*request.path.split("/"), ""][:-1]
        parts = self.repositories.get(f"{owner}/{name}")
        if parts is None:
            return None
        query = dict(parse_qsl(request.target.partition("?")[2]))
        match rest:
            case []:
                return parts[""], ""
            case ["actions", "runs"]:
                runs = self._fitting(parts["actions/runs"], query)
                page, link = self._page(runs, request, query)
                return {"total_count": len(runs), "workflow_runs": page}, link
            case ["actions", "workflows", number, "runs"]:
                runs = [r for r in parts["actions/runs"] if str(r["workflow_id"]) == number]
                page, link = self._page(self._fitting(runs, query), request, query)
                return {"total_count": len(runs), "workflow_runs": page}, link
            case ["actions", "workflows"]:
                return {"workflows": parts["actions/workflows"]}, ""
            case [part] if part in parts:
                return self._page(parts[part], request, query)
        return None

    def _fitting(self, runs: list[Any], query: dict[str, str]) -> list[Any]:
        completed = [run for run in runs if run["status"] == query.get("status", run["status"])]
        branch = query.get("branch")
        return [run for run in completed if branch in (None, run["head_branch"])]

    def _page(
        self, items: list[Any], request: HttpRequest, query: dict[str, str]
    ) -> tuple[list[Any], str]:
        size, number = int(query.get("per_page", 30)), int(query.get("page", 1))
        last = -(-len(items) // size)
        page = items[(number - 1) * size : number * size]
        if number >= last:
            return page, ""
        base = f"{self.url}{request.path}?per_page={size}"
        return page, f'<{base}&page={number + 1}>; rel="next", <{base}&page={last}>; rel="last"'


def run(
    workflow: int,
    conclusion: str | None,
    *,
    minutes: int = 5,
    at: str = "2023-11-14T20:00:00Z",
    name: str = "",
    branch: str = "main",
) -> dict[str, Any]:
    """Return a run that began at `at`; without a conclusion it still runs."""
    hour, minute = int(at[11:13]), int(at[14:16]) + minutes
    ended = f"{at[:11]}{hour + minute // 60:02}:{minute % 60:02}{at[16:]}"
    return {
        "workflow_id": workflow,
        "name": name or f"Workflow {workflow}",
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "head_branch": branch,
        "created_at": at,
        "run_started_at": at,
        "updated_at": ended if conclusion else at,
    }


def release(tag: str, *downloads: int, draft: bool = False) -> dict[str, Any]:
    assets = [
        {"name": f"f{index}", "download_count": count} for index, count in enumerate(downloads)
    ]
    published = None if draft else "2023-11-01T00:00:00Z"
    return {"tag_name": tag, "draft": draft, "published_at": published, "assets": assets}
