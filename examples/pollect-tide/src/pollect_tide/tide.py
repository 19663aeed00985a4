"""Source `Tide`: a gauge with an HTTP status page.

Protocol: GET /status answers JSON, `{"level": <metres>, "readings": <count since power-up>}`.
Cost of a probe: one request on a connection that is kept.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import (
    BadResponse,
    Kind,
    Metric,
    Sample,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.http import HttpClient

DEFAULT_TIMEOUT_SECONDS = 10.0

LEVEL = Metric("level_metres", help="Level in metres.", unit="metres")
READINGS = Metric("readings", help="Readings since power-up.", unit="readings", kind=Kind.COUNTER)


class TideConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host of the gauge, with port if not 80.")]
    token: Annotated[Secret | None, Meta(description="Token, if the gauge demands one.")] = None


class TideSource(Source[TideConfig]):
    """Level and readings of one gauge; one HTTP request per probe."""

    config_type = TideConfig
    metrics = (LEVEL, READINGS)

    def __init__(self, config: TideConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._closing = ExitStack()
        self._client: HttpClient

    def open(self) -> None:
        client = HttpClient(timeout=self._timeout_seconds, token=self.config.token)
        self._client = self._closing.enter_context(client)

    def probe(self) -> Iterable[Sample]:
        return parse_status(self._client.get_json(f"http://{self.config.host}/status"))

    def close(self) -> None:
        self._closing.close()

    def deadline_seconds(self) -> float:
        # The request ends by itself; leave it room to say why.
        return self._timeout_seconds + 1.0

    @property
    def _timeout_seconds(self) -> float:
        return self.config.timeout or DEFAULT_TIMEOUT_SECONDS


def parse_status(status: Any) -> list[Sample]:
    """Turn the status into samples; raises `BadResponse` when a number is missing."""
    try:
        return [LEVEL.sample(float(status["level"])), READINGS.sample(int(status["readings"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise BadResponse(f"expected level and readings, got {str(status)[:80]!r}") from error
