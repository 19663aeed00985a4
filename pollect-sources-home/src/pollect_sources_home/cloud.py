"""What the sources of cloud accounts share."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Sample,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.http import HttpClient, Response
from pollect.support.pacing import Pace
from pollect.support.quota import Budget
from pollect.support.tokens import (
    OAuthFormat,
    Token,
    TokenFile,
    TokenFormat,
    find_token_file,
    sign_in_command,
    token_file,
)
from pollect.support.urls import check_base_url
from pollect_sources_home.web import REPORT_SECONDS

ClientT = TypeVar("ClientT")

#: For one request.
DEFAULT_TIMEOUT_SECONDS = 10.0
#: For all requests of a probe together: a new token, a list of devices, their values.
PROBE_SECONDS = 30.0
#: The shortest time that is left to a request.
_SHORTEST_SECONDS = 0.1
_QUOTED_CHARACTERS = 80
#: More ids than any service has given out, and quick to write down.
_MOST_IDS = 10**18
_DIGEST_BYTES = 4
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_cloud_url(url: str, key: str) -> str:
    """Return the URL of a service without a slash at the end.

    Raises `ConfigError` with `key` for one that would send tokens unencrypted.
    """
    url = check_base_url(url, key=key, credentials=False)
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigError("expected an https URL: tokens are sent there", key=key)
    return url


def token_file_of(
    context: SourceContext,
    name: str,
    option: str | None,
    account: str,
    is_ours: Callable[[Token], bool],
    form: TokenFormat | None = None,
) -> TokenFile:
    """Return the file for the token of an account: the one of 1.x for the first account.

    A file that holds the token of another account is left to that; then the name gets a digest of
    the account, unless the config names the file (`option`).
    """
    remedy = sign_in_command(context)
    form = form or OAuthFormat()
    found = token_file(find_token_file(context, name, option), remedy=remedy, form=form)
    if option is not None:
        return found
    try:
        kept = found.stored()
    except AuthenticationFailed:
        return found  # it cannot be read; whoever wants a token says so
    if kept is None or is_ours(kept):
        return found
    digest = hashlib.blake2b(account.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    stem, dot, suffix = name.rpartition(".")
    own = context.state_dir / f"{stem}-{digest}{dot}{suffix}"
    return token_file(own, remedy=remedy, form=form)


class CloudClient:
    """An HTTP client whose requests share the time of a probe; every status is an answer."""

    def __init__(self, timeout: float) -> None:
        self._timeout_seconds = timeout
        self._client = HttpClient(timeout=timeout)
        self._ends = float("inf")

    def begin(self) -> None:
        """Start the time of a probe."""
        self._ends = time.monotonic() + probe_seconds(self._timeout_seconds)

    def request(self, method: str, url: str, **options: Any) -> Response:
        """Send a request and return the answer, whatever its status; follows no redirect.

        Raises `TargetUnavailable` and `BadResponse`.
        """
        left = max(self._ends - time.monotonic(), _SHORTEST_SECONDS)
        return self._client.request(
            method,
            url,
            timeout=min(self._timeout_seconds, left),
            statuses=None,
            follow_redirects=False,
            **options,
        )

    def close(self) -> None:
        self._client.close()


class CloudAccount(Generic[ClientT]):
    """What a source keeps of the account it reads: connection, token, budget and pace.

    The budget is shared by all sources of the account, and so is the time between their probes.
    """

    def __init__(
        self, context: SourceContext, budget: Budget, distance: float, timeout: float | None
    ) -> None:
        """`distance` is in seconds, between two probes that ask the service."""
        self.budget = budget
        self.pace = Pace[list[Sample]](distance, context.clock)
        self._interval = context.interval
        self._distance = distance
        self._timeout_seconds = timeout or DEFAULT_TIMEOUT_SECONDS
        self._http: CloudClient | None = None
        self._opened: tuple[ClientT, TokenFile] | None = None

    def open(self, tokens: TokenFile, build: Callable[[CloudClient], ClientT]) -> None:
        """Open a connection; `build` returns the client of the service that uses it."""
        self.close()
        self.budget.join(self)
        self._http = CloudClient(self._timeout_seconds)
        self._opened = build(self._http), tokens

    def opened(self) -> tuple[ClientT, TokenFile]:
        """Return client and token file; raises `BadResponse` before `open`."""
        if self._opened is None:
            raise BadResponse("not open")
        return self._opened

    def use(self, tokens: TokenFile) -> None:
        """Go on with another token file."""
        client, _ = self.opened()
        self._opened = client, tokens

    def read(self, fetch: Callable[[], list[Sample]]) -> list[Sample]:
        """Return what `fetch` returns, or what it returned last if that is not long ago."""
        _, tokens = self.opened()
        if self._http is not None:
            self._http.begin()
        return self.pace.read(fetch, tokens.version())

    def slow_down(self, calls: int = 1) -> None:
        """Leave so much time until the next probe that all sources of the account have theirs."""
        self.pace.distance = self._distance * calls * max(1, self.budget.sharers)

    def deadline_seconds(self) -> float:
        return max(self._interval, probe_seconds(self._timeout_seconds) + REPORT_SECONDS)

    def close(self) -> None:
        """Close the connection; may be called again."""
        self.budget.leave(self)
        http, self._http, self._opened = self._http, None, None
        if http is not None:
            http.close()


def probe_seconds(timeout: float) -> float:
    """Return how long all requests of a probe may take together."""
    return max(PROBE_SECONDS, timeout) if timeout >= DEFAULT_TIMEOUT_SECONDS else 3 * timeout


def identity_of(value: object) -> str:
    """Return an id in an answer as text for the URL of another request; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST_IDS:
        return str(value)
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else ""


def json_object(response: Response) -> Mapping[str, Any]:
    """Return the JSON object in an answer; empty for anything else, such as a page of a proxy."""
    try:
        data = response.json()
    except BadResponse:
        return {}
    return data if isinstance(data, Mapping) else {}


def require_object(response: Response) -> Mapping[str, Any]:
    """Return the JSON object in an answer; raises `BadResponse` when it is something else."""
    data = response.json()
    if not isinstance(data, Mapping):
        raise BadResponse(f"{urlsplit(response.url).netloc}: expected a JSON object")
    return data


def require_secret_object(response: Response) -> Mapping[str, Any]:
    """Return the JSON object in an answer that may hold a token; an error does not quote it."""
    data = json_object(response)
    if not data:
        raise BadResponse(f"{urlsplit(response.url).netloc}: expected a JSON object with a token")
    return data


def failure(what: str, response: Response, reason: str = "") -> BadResponse | TargetUnavailable:
    """Return the error for an answer that is none: the service in trouble, or a strange status."""
    text = f"{what}: status {response.status}"
    if reason:
        text = f"{text}: {reason[:_QUOTED_CHARACTERS]}"
    in_trouble = response.status >= 500 or response.status in (408, 429)
    return TargetUnavailable(text) if in_trouble else BadResponse(text)
