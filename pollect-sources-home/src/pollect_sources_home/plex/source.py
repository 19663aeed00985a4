"""Source `Plex`: running streams and the size of the libraries of a Plex Media Server.

Streams are read at every probe, one request. The libraries are counted every five minutes, one
small request for each number.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    DETAIL,
    BadResponse,
    Metric,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.http import HttpClient
from pollect.support.urls import check_url
from pollect_sources_home.plex.client import PlexClient, Section
from pollect_sources_home.plex.library import (
    ENTRIES,
    LIBRARY_ITEMS,
    PHOTOS,
    TOTALS,
    count_items,
    count_totals,
)
from pollect_sources_home.plex.sessions import (
    STREAM_BANDWIDTH,
    STREAM_COUNT,
    STREAMS,
    parse_stream_details,
    parse_streams,
)
from pollect_sources_home.web import deadline_seconds

#: A server whose discs sleep takes its time for the libraries.
DEFAULT_TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
#: Between two counts of the libraries.
LIBRARY_SECONDS = 300.0
#: Listings of very old servers are whole.
MAX_BODY_BYTES = 64 * 1024 * 1024

INFO = Metric(
    "info",
    help="Always 1; the version of the server is a label.",
    labels=("version",),
    panel=DETAIL,
)


class PlexConfig(SourceConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="The server, as in http://10.0.0.5:32400.")]
    token: Annotated[
        Secret | None,
        Meta(
            description="X-Plex-Token; not needed where the server lists this host under the "
            "addresses that are allowed without authentication."
        ),
    ] = None
    timeout: Annotated[
        Seconds | None, Meta(description="Seconds that all requests of a probe may take.")
    ] = DEFAULT_TIMEOUT_SECONDS
    verify: Annotated[
        bool | str,
        Meta(
            description="Verify the certificate of an https `url`; or a file of authorities to "
            "verify it with."
        ),
    ] = True


class PlexSource(Source[PlexConfig]):
    """Streams of each kind, and films, shows, episodes, albums and songs in the libraries."""

    config_type = PlexConfig
    target_option = "url"
    target_prefix = "http://"
    metrics = (
        *STREAMS.values(),
        *(metric for kinds in TOTALS.values() for metric in kinds.values()),
        PHOTOS,
        LIBRARY_ITEMS,
        STREAM_COUNT,
        STREAM_BANDWIDTH,
        INFO,
    )

    def __init__(self, config: PlexConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._url = check_url(config.url).rstrip("/")
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._client: PlexClient | None = None
        self._library: list[Sample] = []
        self._next_count = float("-inf")
        self._unknown_kinds: set[str] = set()

    def open(self) -> None:
        self.close()
        token = self.config.token.reveal().strip() if self.config.token else ""
        verify = self.config.verify
        http = HttpClient(
            timeout=self._timeout_seconds,
            connect_timeout=CONNECT_SECONDS,
            headers={"Accept": "application/xml", **({"X-Plex-Token": token} if token else {})},
            verify=bool(verify),
            ca_file=self.context.config_dir / Path(verify) if isinstance(verify, str) else None,
            max_body_bytes=MAX_BODY_BYTES,
        )
        self._client = PlexClient(
            self._url, http, has_token=bool(token), limit_seconds=self._timeout_seconds
        )

    def probe(self) -> Iterable[Sample]:
        client = self._client
        if client is None:
            raise BadResponse("not open")
        client.begin()
        sessions = client.sessions()
        now = self.context.clock.monotonic()
        if now >= self._next_count:
            self._library = list(self._count(client))
            self._next_count = now + LIBRARY_SECONDS
        samples = [*parse_streams(sessions), *self._library]
        if self.config.details:
            samples += parse_stream_details(sessions)
        return samples

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        return deadline_seconds(self.context, self._timeout_seconds)

    def _count(self, client: PlexClient) -> Iterator[Sample]:
        sections = client.sections()
        self._note_unknown(sections)
        # Totals and single libraries ask for some of the same numbers.
        count = functools.cache(client.count)
        yield from count_totals(sections, count, details=self.config.details)
        if self.config.details:
            yield from count_items(sections, count)
            yield from self._info(client)

    def _info(self, client: PlexClient) -> Iterator[Sample]:
        try:
            version = client.version()
        except BadResponse as error:
            # Names of devices on this page may hold bytes that are not text.
            self.troubles.failed("version", error)
            return
        self.troubles.works("version")
        if version:
            yield INFO.sample(1, version)

    def _note_unknown(self, sections: Iterable[Section]) -> None:
        for kind in {section.kind for section in sections} - ENTRIES.keys() - self._unknown_kinds:
            self._unknown_kinds.add(kind)
            self.log.debug("libraries of type %r are not counted", kind)
