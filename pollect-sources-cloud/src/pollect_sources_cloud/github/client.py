"""A client of the GitHub REST API that asks only for what has changed.

Facts: "Best practices for using the REST API", "Rate limits" and "Using pagination" of GitHub's
documentation. An answer 304 to a request with a token does not count against the rate limit.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pollect.api import AuthenticationFailed, BadResponse, ProbeError, Secret
from pollect.support.http import HttpClient, Response
from pollect.support.http_fields import parse_whole
from pollect.support.quota import Budget, retry_after
from pollect_sources_cloud.failures import failure
from pollect_sources_cloud.github.payload import SHAPE_ERRORS
from pollect_sources_cloud.limits import Limit

API_VERSION = "2022-11-28"
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="next"')
_LAST_PAGE = re.compile(r'[?&]page=(\d+)[^>]*>\s*;[^,]*\brel="last"')

ResultT = TypeVar("ResultT")


class NotFound(BadResponse):
    """There is no such thing, or the token may not see it."""


@dataclass(frozen=True)
class Answer(Generic[ResultT]):
    """What was made of an answer, and where it goes on."""

    value: ResultT
    #: The number of pages, None if this is the only one.
    pages: int | None
    #: URL of the next page.
    next_url: str | None


class GitHub:
    """The API, for one token."""

    def __init__(
        self,
        endpoint: str,
        *,
        token: Secret | None,
        http: HttpClient,
        limit: Limit,
        budget: Budget,
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._limit = limit
        self._budget = budget
        self._headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
        }
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token.reveal()}"
        #: URL -> its ETag and what was made of it.
        self._known: dict[str, tuple[str, Answer[Any]]] = {}
        self._asked: set[str] = set()
        #: The rate limit as of the last answer: calls left, calls in all.
        self.rate_limit: tuple[int, int] | None = None

    def begin(self) -> None:
        """Start a round of requests."""
        self._asked = set()

    def forget_the_rest(self) -> None:
        """Forget what was not asked for since `begin`."""
        self._known = {url: kept for url, kept in self._known.items() if url in self._asked}

    def get(self, path: str, parse: Callable[[Any], ResultT]) -> Answer[ResultT]:
        """Return what `parse` makes of the JSON at a path or URL of the API.

        Raises `NotFound`, `AuthenticationFailed`, `TargetUnavailable` or `BadResponse`; `parse`
        may raise LookupError, TypeError or ValueError for JSON of another shape.
        """
        url = path if path.startswith(f"{self._endpoint}/") else f"{self._endpoint}{path}"
        self._asked.add(url)
        known = self._known.get(url)
        headers = dict(self._headers)
        if known is not None:
            headers["If-None-Match"] = known[0]
        self._budget.spend()
        answer = self._http.get(url, headers=headers, timeout=self._limit.left(), statuses=None)
        self._note_rate_limit(answer)
        if answer.status == 304 and known is not None:
            self._budget.answered()
            found: Answer[ResultT] = known[1]
            return found
        if answer.status != 200:
            raise self._failure(answer, path)
        self._budget.answered()
        try:
            value = parse(answer.json())
        except SHAPE_ERRORS as error:
            raise BadResponse(f"{path}: the answer has another shape than expected") from error
        link = answer.headers.get("Link", "")
        following, last = _NEXT.search(link), _LAST_PAGE.search(link)
        made = Answer(value, int(last[1]) if last else None, following[1] if following else None)
        if etag := answer.headers.get("ETag"):
            self._known[url] = etag, made
        else:
            self._known.pop(url, None)
        return made

    def _note_rate_limit(self, answer: Response) -> None:
        left = parse_whole(answer.headers.get("X-RateLimit-Remaining", ""))
        calls = parse_whole(answer.headers.get("X-RateLimit-Limit", ""))
        if left is not None and calls is not None:
            self.rate_limit = left, calls

    def _failure(self, answer: Response, path: str) -> ProbeError:
        message, about = _text(answer, "message"), _text(answer, "documentation_url")
        pause = retry_after(answer.headers, self._budget.clock)
        is_used_up = answer.headers.get("X-RateLimit-Remaining") == "0"
        # The page on limits is the only sign of a secondary one that names no pause.
        is_limit = is_used_up or pause is not None or "rate-limits" in about
        if answer.status == 429 or (answer.status == 403 and is_limit):
            until = parse_whole(answer.headers.get("X-RateLimit-Reset", "")) if is_used_up else None
            error = self._budget.refused(wait_seconds=pause, until=until)
            if pause is not None or until is not None:
                error.retry_in = pause or max(1.0, (until or 0.0) - self._budget.clock.time())
            return error
        match answer.status:
            case 401:
                return AuthenticationFailed(f"{path}: the token is refused: {message}")
            case 403:
                return AuthenticationFailed(f"{path}: the token may not read this: {message}")
            case 404 | 410 | 451:
                return NotFound(f"{path}: not found, or the token may not see it")
        return failure(answer, message, self._budget, where=path)


def _text(answer: Response, key: str) -> str:
    """Return what an error says under `key`; empty for nothing."""
    try:
        found = answer.json()
    except BadResponse:
        return ""
    text = found.get(key) if isinstance(found, dict) else None
    return text[:200] if isinstance(text, str) else ""
