"""Running streams as samples. Pure; a stream that is not understood is left out alone.

Every child of a stream may be missing: live television has neither `Session` nor `Player`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from pollect.api import (
    DETAIL,
    Headline,
    Metric,
    Sample,
)
from pollect_sources_home.plex.xml import whole_number

#: `type` of a stream -> its metric; trailers are a `clip` and counted nowhere.
STREAMS = {
    "movie": Metric(
        "streams.movies", help="Films that are played.", headline=Headline("films played")
    ),
    "episode": Metric(
        "streams.shows",
        help="Episodes that are played, live television included.",
        headline=Headline("episodes played"),
    ),
    "track": Metric(
        "streams.musics", help="Songs that are played.", headline=Headline("songs played")
    ),
}
STREAM_COUNT = Metric(
    "streams.count",
    help="Streams by how the server sends them, whether they play, and where to.",
    labels=("decision", "state", "location"),
    panel=DETAIL,
)
STREAM_BANDWIDTH = Metric(
    "streams.bandwidth",
    help="Bandwidth that the server set aside for the streams, in kbit/s.",
    unit="kbit/s",
    labels=("location",),
    panel=DETAIL,
)

UNKNOWN = "unknown"
LAN, WAN = "lan", "wan"


def counted_streams(sessions: Iterable[Element]) -> list[Element]:
    """Return the streams that are counted."""
    return [stream for stream in sessions if stream.get("type") in STREAMS]


def parse_streams(sessions: Iterable[Element]) -> Iterator[Sample]:
    """Yield how many streams of each kind there are, 0 included."""
    counts = Counter(stream.get("type") for stream in counted_streams(sessions))
    for kind, metric in STREAMS.items():
        yield metric.sample(counts[kind])


def parse_stream_details(sessions: Iterable[Element]) -> Iterator[Sample]:
    """Yield what the streams cost; no titles, no users, no devices."""
    streams = counted_streams(sessions)
    ways = Counter((decision(each), state(each), location(each)) for each in streams)
    for labels, count in sorted(ways.items()):
        yield STREAM_COUNT.sample(count, *labels)
    bandwidth = {LAN: 0, WAN: 0}
    for stream in streams:
        session = stream.find("Session")
        number = whole_number(session.get("bandwidth")) if session is not None else None
        if number is not None:
            place = location(stream)
            bandwidth[place] = bandwidth.get(place, 0) + number
    for place, number in bandwidth.items():
        yield STREAM_BANDWIDTH.sample(number, place)


def find_problems(sessions: Iterable[Element]) -> list[str]:
    """Return the bandwidths that are there and cannot be read."""
    found = (
        session.get("bandwidth")
        for stream in counted_streams(sessions)
        for session in stream.findall("Session")
    )
    return [
        f"bandwidth: expected a number, got {text!r:.40}"
        for text in found
        if text and whole_number(text) is None
    ]


def decision(stream: Element) -> str:
    """Return `transcode`, `copy` (another container) or `directplay`.

    The parts of the file say so as well, where a transcoding session is not named.
    """
    said = {
        element.get(name)
        for element in stream.iter("TranscodeSession")
        for name in ("videoDecision", "audioDecision")
    }
    for tag in ("Stream", "Part"):
        said = said - {None} or {element.get("decision") for element in stream.iter(tag)}
    return next((word for word in ("transcode", "copy") if word in said), "directplay")


def state(stream: Element) -> str:
    """Return `playing`, `paused` or `buffering`."""
    player = stream.find("Player")
    return (player.get("state") if player is not None else None) or UNKNOWN


def location(stream: Element) -> str:
    """Return `lan` or `wan`."""
    session, player = stream.find("Session"), stream.find("Player")
    if session is not None and session.get("location"):
        return session.get("location", UNKNOWN)
    local = player.get("local") if player is not None else None
    return {"1": LAN, "0": WAN}.get(local or "", UNKNOWN)
