"""A Plex Media Server on a port of 127.0.0.1: libraries, sessions, token and paging.

Written from what the client python-plexapi asks and reads, which judges it in the tests.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from pollect.testing import HttpRequest, HttpResponse, HttpServer

VERSION = "1.41.3.9314-a0bfb8370"
#: The `type` that entries are listed with, by its number.
TYPES = {1: "movie", 2: "show", 3: "season", 4: "episode", 8: "artist", 9: "album", 10: "track",
         13: "photo"}  # fmt: skip
#: What a library lists when it is not asked for a kind.
OWN = {"movie": 1, "show": 2, "artist": 8, "photo": 13}


@dataclass
class Library:
    key: str
    kind: str
    title: str
    #: How many entries of each kind, by its number.
    counts: Mapping[int, int] = field(default_factory=dict)


LIBRARIES = (
    Library("1", "movie", "Films", {1: 3}),
    Library("2", "show", "Shows", {2: 2, 3: 5, 4: 41}),
    Library("3", "artist", "Music", {8: 1, 9: 4, 10: 50}),
    Library("4", "movie", "Films", {1: 1}),
    Library("5", "photo", "Photos", {13: 7}),
    Library("6", "odd", "Odd"),
)
SESSIONS = """\
<MediaContainer size="4">
<Video type="movie" title="A film"><User id="1" title="A viewer"/>
<Player state="playing" local="1"/><Session bandwidth="7000" location="lan"/>
<TranscodeSession videoDecision="transcode" audioDecision="copy"/></Video>
<Video type="episode" title="An episode"><User id="1" title="A viewer"/>
<Player state="paused" local="0"/></Video>
<Track type="track" title="A song"><User id="2" title="A listener"/>
<Player state="playing"/><Session bandwidth="900"/></Track>
<Video type="clip" title="A trailer"><User id="1" title="A viewer"/>
<Session bandwidth="5" location="wan"/></Video>
</MediaContainer>"""


class PlexServer(HttpServer):
    """Serves `libraries` and `sessions`; `pages` are answers that come before everything else.

    Without `knows_totals` it is a very old one, which lists everything and says no more.
    """

    def __init__(
        self,
        libraries: Sequence[Library] = LIBRARIES,
        sessions: str | bytes = SESSIONS,
        *,
        token: str = "",
        knows_totals: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._answer_to, tls=tls)
        self.libraries = list(libraries)
        self.sessions = sessions
        self.token = token
        self.knows_totals = knows_totals
        self.pages: dict[str, str | bytes] = {}

    def _answer_to(self, request: HttpRequest) -> HttpResponse:
        if self.token and request.headers.get("X-Plex-Token") != self.token:
            return HttpResponse("<html>401 Unauthorized</html>", status=401)
        page = self._page(request)
        if page is None:
            return HttpResponse("<html>404 Not Found</html>", status=404)
        return HttpResponse(page, headers={"Content-Type": "text/xml;charset=utf-8"})

    def _page(self, request: HttpRequest) -> str | bytes | None:
        path, kind = request.path.rstrip("/"), request.query.get("type")
        for name in (f"{path}?type={kind}", path):
            if name in self.pages:
                return self.pages[name]
        match path.split("/")[1:]:
            case [] | ["identity"]:
                return f'<MediaContainer size="0" machineIdentifier="m" version="{VERSION}"/>'
            case ["library"]:
                return '<MediaContainer size="0" identifier="com.plexapp.plugins.library"/>'
            case ["library", "sections"]:
                return self._sections()
            case ["library", "sections", key, "all"]:
                return self._listing(key, int(kind) if kind else None, request)
            case ["library", "sections", key, "albums"]:
                return self._listing(key, 9, request)
            case ["status", "sessions"]:
                return self.sessions
        return None

    def _sections(self) -> str:
        entries = (
            f"<Directory key={quoteattr(library.key)} type={quoteattr(library.kind)} "
            f"title={quoteattr(library.title)}/>"
            for library in self.libraries
        )
        return f'<MediaContainer size="{len(self.libraries)}">{"".join(entries)}</MediaContainer>'

    def _listing(self, key: str, kind: int | None, request: HttpRequest) -> str | None:
        library = next((library for library in self.libraries if library.key == key), None)
        if library is None:
            return None
        kind = OWN.get(library.kind, 0) if kind is None else kind
        count = library.counts.get(kind, 0)
        size = request.query.get(
            "X-Plex-Container-Size", request.headers.get("X-Plex-Container-Size")
        )
        if size is not None and self.knows_totals:
            return f'<MediaContainer size="0" totalSize="{count}" offset="0"/>'
        entries = "".join(_entry(library, kind, index, count) for index in range(count))
        return f'<MediaContainer size="{count}">{entries}</MediaContainer>'


def _entry(library: Library, kind: int, index: int, count: int) -> str:
    """Return one entry; shows and albums share what is below them as evenly as it goes."""

    def share(below: int) -> int:
        whole = library.counts.get(below, 0)
        return whole // count + (index < whole % count)

    below = {2: (4, 3), 9: (10, 10)}.get(kind)
    counts = f' leafCount="{share(below[0])}" childCount="{share(below[1])}"' if below else ""
    return f'<Directory type="{TYPES.get(kind, "")}" title="entry {index}"{counts}/>'
