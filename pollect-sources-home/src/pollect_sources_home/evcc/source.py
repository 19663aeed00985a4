"""Source `Evcc`: what the charge controller evcc shows, one request of `/api/state` per probe.

1.x opened a websocket for each probe and took its first message, which evcc makes of the same
cache.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from pollect.api import BadResponse, Host, Sample, Seconds, Source, SourceConfig, SourceContext
from pollect.support.http import HttpClient
from pollect.support.urls import redact_url
from pollect_sources_home.evcc.metrics import (
    DEVICE_POWER,
    DEVICE_SOC,
    GRID_PHASE_CURRENT,
    GRID_PHASE_POWER,
    INFO,
    LOADPOINT_MODE,
    PHASE_CURRENT,
    PHASE_VOLTAGE,
    PV_POWER,
    USUAL_METRICS,
)
from pollect_sources_home.evcc.state import (
    find_problems,
    parse_details,
    parse_loadpoints,
    parse_site,
    unwrap,
)
from pollect_sources_home.web import DEFAULT_TIMEOUT_SECONDS, base_url, deadline_seconds

PATH = "/api/state"


class EvccConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[
        Host,
        Meta(
            description="Host and port of evcc, as in evcc.local:7070; or its URL, as in "
            "https://example.org/evcc."
        ),
    ]
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for the answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )
    verify: Annotated[bool, Meta(description="Verify the certificate of an https URL.")] = True


class EvccSource(Source[EvccConfig]):
    """Every number and boolean of the site and of its loadpoints; one HTTP request per probe."""

    config_type = EvccConfig
    target_option = "host"
    metrics = (
        *USUAL_METRICS,
        PV_POWER,
        DEVICE_POWER,
        DEVICE_SOC,
        PHASE_CURRENT,
        PHASE_VOLTAGE,
        GRID_PHASE_POWER,
        GRID_PHASE_CURRENT,
        LOADPOINT_MODE,
        INFO,
    )
    dynamic_metrics = True

    def __init__(self, config: EvccConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._url = base_url(config.host) + PATH
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._client: HttpClient | None = None

    def open(self) -> None:
        self.close()
        self._client = HttpClient(timeout=self._timeout_seconds, verify=self.config.verify)

    def probe(self) -> Iterable[Sample]:
        if self._client is None:
            raise BadResponse("not open")
        answer = self._client.get_json(self._url)
        state = unwrap(answer)
        samples = [*parse_loadpoints(state), *parse_site(state)] if state else []
        if state is None or not samples:
            raise BadResponse(
                f"{redact_url(self._url)}: expected the state of evcc, got {answer!r:.80}"
            )
        self.troubles.note("state", find_problems(state, details=self.config.details))
        if self.config.details:
            samples += parse_details(state)
        return samples

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        return deadline_seconds(self.context, self._timeout_seconds)
