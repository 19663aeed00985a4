"""Source `AiOnTheEdge`: a water, gas or power meter read by an AI-on-the-edge-device.

One request of `/json` per probe. The device serves one request at a time and is busy for minutes
while it looks at a picture, so sources that read the same one take turns.
"""

import threading
from collections.abc import (
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from typing import Annotated, Any
from weakref import WeakValueDictionary

from msgspec import Meta

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Host,
    Metric,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.http import SUCCESS, HttpClient, Response
from pollect.support.urls import redact_url
from pollect_sources_home.ai_on_the_edge.payload import (
    NUMBERED_READING,
    READING,
    find_problems,
    make_sample,
    parse_details,
    parse_reading,
)
from pollect_sources_home.web import base_url, deadline_seconds, hint_on_refusal

PATH = "/json"
DEFAULT_PORT = 80
DEFAULT_TIMEOUT_SECONDS = 15.0
MAX_BODY_BYTES = 64 * 1024
FORBIDDEN = 403
#: What the firmware answers with status 403 until its first round ended.
NOT_YET = "not yet available"
#: Value of the option that asks for every number sequence.
ALL = "all"


class Turn:
    """The right to ask one device."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
_turns_lock = threading.Lock()


class AiOnTheEdgeConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[Host, Meta(description="Name or address of the device.")]
    port: Annotated[int, Meta(description="Port of its web server.", ge=1, le=65535)] = DEFAULT_PORT
    value: Annotated[
        str | tuple[str, ...],
        Meta(
            description="Number sequence to report, a list of several, or `all`; the latter two "
            "add the label `number`."
        ),
    ] = "main"
    user: Annotated[str, Meta(description="User, if the web page asks for one.")] = ""
    password: Annotated[Secret, Meta(description="Password of the web page.")] = Secret("")
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for the answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )


class AiOnTheEdgeSource(Source[AiOnTheEdgeConfig]):
    """Reading, rate and errors of a meter with a camera; one HTTP request per probe."""

    config_type = AiOnTheEdgeConfig
    target_option = "host"
    metrics = (READING, NUMBERED_READING)

    def __init__(self, config: AiOnTheEdgeConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if not config.value:
            raise ConfigError("expected the name of a number sequence", key="value")
        if config.password and not config.user:
            raise ConfigError("expected a user beside the password", key="user")
        self._is_labelled = config.value == ALL or not isinstance(config.value, str)
        self._url = base_url(config.host, config.port) + PATH
        self._where = redact_url(self._url)
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._client: HttpClient | None = None
        with _turns_lock:
            self._turn = _turns.setdefault(self._url, Turn())

    def expected_metrics(self) -> Sequence[Metric]:
        return [NUMBERED_READING if self._is_labelled else READING]

    def open(self) -> None:
        self.close()
        self._client = HttpClient(
            timeout=self._timeout_seconds,
            user=self.config.user,
            password=self.config.password,
            max_body_bytes=MAX_BODY_BYTES,
        )

    def probe(self) -> Iterable[Sample]:
        if self._client is None:
            raise BadResponse("not open")
        with self._alone():
            answer = self._fetch(self._client)
        sequences = answer.json()
        if not isinstance(sequences, dict):
            raise BadResponse(f"{self._where}: expected an object, got {sequences!r:.80}")
        return list(self._samples(sequences))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        # Another source may be in the middle of its request.
        return deadline_seconds(self.context, 2 * self._timeout_seconds)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._turn.lock.acquire(timeout=self._timeout_seconds):
            raise TargetUnavailable(f"{self._where}: another source is still waiting for an answer")
        try:
            yield
        finally:
            self._turn.lock.release()

    def _fetch(self, client: HttpClient) -> Response:
        with hint_on_refusal("set `user` and `password`"):
            answer = client.get(self._url, statuses=(*SUCCESS, FORBIDDEN))
        if answer.status == FORBIDDEN:
            text = " ".join(answer.text().split())
            if NOT_YET in text.lower():
                raise TargetUnavailable(
                    f"{self._where}: the device has not finished its first round, or is in set-up "
                    f"mode: {text:.80}"
                )
            raise AuthenticationFailed(f"{self._where}: refused with status 403: {text:.80}")
        return answer

    def _samples(self, sequences: Mapping[str, Any]) -> Iterator[Sample]:
        wanted = self.config.value
        if wanted == ALL:
            names: Iterable[str] = sequences
        else:
            names = (wanted,) if isinstance(wanted, str) else dict.fromkeys(wanted)
        self._check(sequences, names)
        for name in names:
            fields = sequences.get(name)
            if not isinstance(fields, dict):
                continue
            values = list(parse_reading(fields))
            problems = find_problems(fields, details=self.config.details)
            self.troubles.note(f"values of {name}", problems)
            if self.config.details:
                values += parse_details(fields, self.context.clock.time())
            for kind, value in values:
                yield make_sample(kind, value, name if self._is_labelled else None)

    def _check(self, sequences: Mapping[str, Any], names: Iterable[str]) -> None:
        """Report the number sequences that are missing; raise `BadResponse` when all are."""
        missing = [name for name in names if not isinstance(sequences.get(name), dict)]
        known = ", ".join(sequences) or "none"
        if len(missing) == len(list(names)):
            raise BadResponse(
                f"{self._where}: no number sequence {', '.join(missing) or ALL}, there are: "
                f"{known:.200}"
            )
        for name in missing:
            if name in sequences:
                reason = f"expected an object, got {sequences[name]!r:.60}"
            else:
                reason = f"no such number sequence, there are: {known:.200}"
            self.troubles.failed(name, reason)
        for name in names:
            if name not in missing:
                self.troubles.works(name)
