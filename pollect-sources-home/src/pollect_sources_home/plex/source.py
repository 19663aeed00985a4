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
    TargetUnavailable,
)
from pollect.support.http import HttpClient
from pollect.support.urls import check_base_url
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
    find_problems,
    parse_stream_details,
    parse_streams,
)
from pollect_sources_home.web import deadline_seconds

#: A server whose discs sleep takes its time for the libraries.
DEFAULT_TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
#: Between two counts of the libraries.
LIBRARY_SECONDS = 300.0
#: Until libraries that could not be counted are tried again.
RETRY_SECONDS = 60.0
#: Parts of the source in which something may be wrong.
STREAMS_PART, LIBRARIES_PART, VERSION_PART = "streams", "libraries", "version"
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
        self._url = check_base_url(config.url)
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
            self._count(client, now)
        samples = [*parse_streams(sessions), *self._library]
        if self.config.details:
            samples += parse_stream_details(sessions)
            self.troubles.note(STREAMS_PART, find_problems(sessions))
        return samples

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        return deadline_seconds(self.context, self._timeout_seconds)

    def _count(self, client: PlexClient, now: float) -> None:
        """Count the libraries; one that fails costs itself and the totals it belongs to."""
        failures: dict[Section, BadResponse] = {}
        problems: list[str] = []

        # Totals and single libraries ask for some of the same numbers.
        @functools.cache
        def count(section: Section, kind: int) -> int | None:
            if section in failures:
                return None
            try:
                return client.count(section, kind)
            except BadResponse as error:
                failures[section] = error
                return None

        self._library = []
        self._next_count = now + RETRY_SECONDS
        try:
            sections = client.sections(problems)
            self._note_unknown(sections)
            found = count_totals(sections, count, details=self.config.details)
            if self.config.details:
                found += count_items(sections, count)
                found += self._info(client)
        except (BadResponse, TargetUnavailable) as error:
            self.troubles.failed(LIBRARIES_PART, error, type(error).__name__)
            return
        self._library = found
        self.troubles.note(LIBRARIES_PART, problems)
        parts = {section: f"library {section.title} ({section.key})" for section in sections}
        for section, part in parts.items():
            if section in failures:
                self.troubles.failed(part, failures[section])
            else:
                self.troubles.works(part)
        self.troubles.keep({STREAMS_PART, LIBRARIES_PART, VERSION_PART, *parts.values()})
        if not failures:
            self._next_count = now + LIBRARY_SECONDS

    def _info(self, client: PlexClient) -> Iterator[Sample]:
        try:
            version = client.version()
        except BadResponse as error:
            # Names of devices on this page may hold bytes that are not text.
            self.troubles.failed(VERSION_PART, error)
            return
        self.troubles.works(VERSION_PART)
        if version:
            yield INFO.sample(1, version)

    def _note_unknown(self, sections: Iterable[Section]) -> None:
        for kind in {section.kind for section in sections} - ENTRIES.keys() - self._unknown_kinds:
            self._unknown_kinds.add(kind)
            self.log.debug("libraries of type %r are not counted", kind)
