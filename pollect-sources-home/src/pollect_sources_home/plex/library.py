"""How much the libraries of a server hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from pollect.api import (
    DETAIL,
    Metric,
    Sample,
)
from pollect.support.distinct import Named, tell_apart
from pollect_sources_home.plex.client import (
    ALBUM,
    ARTIST,
    EPISODE,
    MOVIE,
    PHOTO,
    SEASON,
    SHOW,
    TRACK,
    Section,
)

PHOTOS = Metric("lib.photos", help="Photos in all libraries of photos.", panel=DETAIL)
#: Kind of library -> what is counted in it.
TOTALS: Mapping[str, Mapping[int, Metric]] = {
    "movie": {MOVIE: Metric("lib.movies", help="Films in all libraries of films.")},
    "show": {
        SHOW: Metric("lib.shows", help="Shows in all libraries of shows."),
        EPISODE: Metric("lib.shows.episodes", help="Episodes of all shows."),
        SEASON: Metric("lib.shows.seasons", help="Seasons of all shows."),
    },
    "artist": {
        ALBUM: Metric("lib.music.albums", help="Albums in all libraries of music."),
        TRACK: Metric("lib.music.songs", help="Songs in all libraries of music."),
    },
}
PHOTO_TOTALS = {"photo": {PHOTO: PHOTOS}}
#: Kind of library -> what its own entries are.
ENTRIES = {"movie": MOVIE, "show": SHOW, "artist": ARTIST, "photo": PHOTO}
LIBRARY_ITEMS = Metric(
    "library.items",
    help="Films, shows, artists or photos of one library.",
    labels=("library", "library_type"),
    panel=DETAIL,
)

#: Counts the entries of a kind in a library; None where they cannot be counted.
Count = Callable[[Section, int], int | None]


def count_totals(sections: Iterable[Section], count: Count, *, details: bool) -> list[Sample]:
    """Return the totals of all libraries, 0 where there are none of a kind.

    A total without one of its libraries would be wrong, and is left out.
    """
    totals = {metric: 0 for kinds in TOTALS.values() for metric in kinds.values()}
    incomplete: set[Metric] = set()
    counted = dict(TOTALS)
    if details:
        totals[PHOTOS] = 0
        counted |= PHOTO_TOTALS
    for section in sections:
        for kind, metric in counted.get(section.kind, {}).items():
            number = count(section, kind)
            if number is None:
                incomplete.add(metric)
            else:
                totals[metric] += number
    return [metric.sample(total) for metric, total in totals.items() if metric not in incomplete]


def count_items(sections: Iterable[Section], count: Count) -> Iterator[Sample]:
    """Yield the entries of every library; of two with the same title the second gets its key."""
    sections = [section for section in sections if section.kind in ENTRIES]
    titles = tell_apart(
        (Named(each.title or each.key, each.key, each.kind) for each in sections), "{} {}".format
    )
    for section, title in zip(sections, titles, strict=True):
        number = count(section, ENTRIES[section.kind])
        if number is not None:
            yield LIBRARY_ITEMS.sample(number, title, section.kind)
