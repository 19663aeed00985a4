"""Plex against a simulated server that the client plexapi accepts, and recorded answers."""

import re
import socket
import time
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
    serve_http,
    serve_tcp,
    wait_until,
)
from pollect_sources_home.plex.source import PlexSource
from tests.simulators.certificates import Authority
from tests.simulators.plex import LIBRARIES, VERSION, Library, PlexServer
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.driver import opened, patience_for

LIBRARY = {
    "lib.movies": 4,
    "lib.shows": 2,
    "lib.shows.episodes": 41,
    "lib.shows.seasons": 5,
    "lib.music.albums": 4,
    "lib.music.songs": 50,
}
STREAMS = {"streams.movies": 1, "streams.shows": 1, "streams.musics": 1}
NOTHING = dict.fromkeys(LIBRARY | STREAMS, 0)
EMPTY = '<MediaContainer size="0"/>'


def series(server: PlexServer, **more: Any) -> dict[str, float]:
    with opened({"url": server.url, **more}, PlexSource) as source:
        return source.series()


def sessions(inner: str) -> str:
    return f"<MediaContainer>{inner}</MediaContainer>"


def test_exposition(golden) -> None:
    with PlexServer() as server:
        source = build_source({"url": server.url, "details": True}, PlexSource)
        with Running(source) as running:
            golden("Plex.txt", format_samples(source, running.probe()))


def test_streams_and_libraries() -> None:
    with PlexServer() as server:
        assert series(server) == STREAMS | LIBRARY


def test_all_nine_values_are_there_when_nothing_is() -> None:
    with PlexServer([], EMPTY) as server:
        assert series(server) == NOTHING


def test_the_simulator_is_a_server_to_plexapi() -> None:
    plexapi = pytest.importorskip("plexapi.server")
    with PlexServer(LIBRARIES[:5], token="t") as server:
        client = plexapi.PlexServer(server.url, token="t")
        sizes = {
            section.key: section.totalViewSize(includeCollections=False)
            for section in client.library.sections()
        }
        assert client.version == VERSION
        assert sizes == {1: 3, 2: 2, 3: 1, 4: 1, 5: 7}
        assert [each.type for each in client.sessions()] == ["movie", "episode", "track", "clip"]
        assert client.library.section("Shows").totalViewSize("episode") == 41
        client._session.close()


@pytest.mark.parametrize("kinds", [("movie",), ("show", "artist"), ("photo", "odd")])
def test_very_old_servers_are_counted_by_what_they_list(kinds: tuple[str, ...]) -> None:
    libraries = [library for library in LIBRARIES if library.kind in kinds]
    with PlexServer(libraries, EMPTY) as new, PlexServer(libraries, EMPTY) as old:
        old.knows_totals = False
        assert series(old) == series(new)


def test_an_old_server_that_lists_shows_whatever_it_is_asked_for(recording) -> None:
    library = Library("2", "show", "Shows")
    with PlexServer([library], EMPTY) as server:
        server.pages["/library/sections/2/all"] = recording("plex/library_tvshows_all.xml")
        expected = {"lib.shows": 1, "lib.shows.episodes": 100, "lib.shows.seasons": 5}
        assert series(server) == NOTHING | expected


def test_counts_that_a_show_lacks_are_zero() -> None:
    with PlexServer([Library("2", "show", "Shows")], EMPTY) as server:
        server.pages["/library/sections/2/all"] = sessions('<Directory type="show"/>')
        assert series(server) == NOTHING


def test_recorded_libraries(recording) -> None:
    counted = [
        Library("1", "movie", "", {1: 5}),
        Library("2", "show", "", {2: 1, 3: 5}),
        Library("3", "artist", "", {}),
    ]
    with PlexServer(counted, EMPTY) as server:
        server.pages |= {
            "/library/sections": recording("plex/library_sections.xml"),
            "/library/sections/2/all?type=4": recording("plex/library_tvshows_size_episodes.xml"),
            "/library/sections/3/all": recording("plex/library_music_size.xml"),
        }
        found = series(server, details=True)
    assert found["lib.movies"] == 5
    assert (found["lib.shows"], found["lib.shows.seasons"]) == (1, 5)
    assert found["lib.shows.episodes"] == 10
    assert (found["lib.music.albums"], found["lib.music.songs"]) == (1, 1)
    assert found['library.items{library="TV Shows",library_type="show"}'] == 1
    assert found['library.items{library="Music",library_type="artist"}'] == 1


@pytest.mark.parametrize(
    ("name", "kind", "way", "bandwidth"),
    [
        ("movie", "streams.movies", ("transcode", "playing", "lan"), {"lan": 7000}),
        ("livetv", "streams.shows", ("copy", "unknown", "unknown"), {}),
        ("clip", None, None, {}),
    ],
)
def test_recorded_sessions(
    recording, name: str, kind: str | None, way: tuple[str, ...] | None, bandwidth: dict[str, int]
) -> None:
    with PlexServer([], recording(f"plex/session_{name}.xml")) as server:
        found = series(server, details=True)
    expected: dict[str, float] = {**NOTHING, "lib.photos": 0, f'info{{version="{VERSION}"}}': 1}
    if kind and way:
        labels = zip(("decision", "state", "location"), way, strict=True)
        counted = ",".join(f'{label}="{value}"' for label, value in labels)
        expected |= {kind: 1, f"streams.count{{{counted}}}": 1}
    bandwidths = {"lan": 0, "wan": 0} | bandwidth
    for place, number in bandwidths.items():
        expected[f'streams.bandwidth{{location="{place}"}}'] = number
    assert found == expected


def test_a_first_page_that_is_not_text_costs_only_the_version(
    recording, caplog: pytest.LogCaptureFixture
) -> None:
    page = recording("plex/identity_malformed.xml")
    with PlexServer([], EMPTY) as server:
        server.pages["/identity"] = page
        assert NOTHING.items() <= series(server, details=True).items()
        assert "/identity: status 200: expected XML of Plex: not well-formed" in caplog.text
        server.sessions = page
        with pytest.raises(BadResponse, match="/status/sessions: status 200: expected XML of Plex"):
            series(server)


@pytest.mark.parametrize(
    ("inner", "decision"),
    [
        ('<TranscodeSession videoDecision="copy" audioDecision="transcode"/>', "transcode"),
        ('<TranscodeSession videoDecision="copy" audioDecision="copy"/>', "copy"),
        ('<Media><Part decision="directplay"/></Media>', "directplay"),
        ('<Media><Part decision="transcode"><Stream decision="copy"/></Part></Media>', "copy"),
        ("", "directplay"),
    ],
)
def test_how_a_stream_is_sent(inner: str, decision: str) -> None:
    with PlexServer([], sessions(f'<Video type="movie">{inner}</Video>')) as server:
        found = series(server, details=True)
    way = f'decision="{decision}",state="unknown",location="unknown"'
    assert found[f"streams.count{{{way}}}"] == 1


def test_streams_that_are_not_understood_are_left_out_alone() -> None:
    odd = '<Video/><Video type="??"/><Other type="track"><Session bandwidth="x"/></Other>'
    with PlexServer([], sessions(odd)) as server:
        assert series(server) == NOTHING | {"streams.musics": 1}
        assert series(server, details=True)['streams.bandwidth{location="lan"}'] == 0


def test_labels_hold_no_titles_and_no_users(recording) -> None:
    with PlexServer(sessions=recording("plex/session_movie.xml")) as server:
        with opened({"url": server.url, "details": True}, PlexSource) as source:
            labels = {text for sample in source.samples() for text in sample.label_values}
    assert not labels & {"Movie 1", "User 1", "SHIELD Android TV", "1.2.3.11"}
    assert labels == {
        "Films", "Films 4", "Shows", "Music", "Photos", "movie", "show", "artist", "photo",
        "transcode", "playing", "lan", "wan", VERSION,
    }  # fmt: skip


def test_libraries_are_counted_every_five_minutes_and_streams_each_time() -> None:
    clock = FakeClock()
    with PlexServer([Library("1", "movie", "Films", {1: 3})]) as server:
        with opened({"url": server.url}, PlexSource, clock=clock) as source:
            source.series()
            server.libraries[0].counts = {1: 5}
            server.sessions = EMPTY
            clock.advance(299)
            found = source.series()
            assert (found["lib.movies"], found["streams.movies"]) == (3, 0)
            assert server.requests[-1].path == "/status/sessions"
            clock.advance(1)
            assert source.series()["lib.movies"] == 5


def test_token_is_sent_as_a_header_and_never_in_an_address() -> None:
    with PlexServer(token="secret") as server:
        assert series(server, token=" secret\n") == STREAMS | LIBRARY
        assert not any("secret" in request.target for request in server.requests)
        with pytest.raises(AuthenticationFailed, match="401: set `token`"):
            series(server)
        with pytest.raises(AuthenticationFailed, match="rejects `token`"):
            series(server, token="revoked")


def test_a_server_that_wants_https_says_nothing_and_we_do() -> None:
    def read_and_hang_up(connection: socket.socket) -> None:
        connection.recv(10_000)

    with serve_tcp(read_and_hang_up) as server:
        with opened({"url": f"http://{server.address}"}, PlexSource) as source:
            with pytest.raises(TargetUnavailable, match="may require secure connections"):
                source.series()


def test_a_certificate_for_another_name_is_explained(authority: Authority) -> None:
    with PlexServer(tls=authority.server("10-0-0-5.abc.plex.direct")) as server:
        ca = str(authority.ca_file)
        with pytest.raises(TargetUnavailable, match=r"\*\.plex\.direct.*`verify: false`"):
            series(server, verify=ca)
        with pytest.raises(TargetUnavailable, match="TLS failed"):
            series(server)
        assert series(server, verify=False) == STREAMS | LIBRARY
    with PlexServer(tls=authority.server("127.0.0.1")) as server:
        assert series(server, verify=ca) == STREAMS | LIBRARY


def test_a_document_type_is_refused() -> None:
    bomb = '<!DOCTYPE m [<!ENTITY a "aaaa">]><MediaContainer totalSize="&a;"/>'
    with PlexServer() as server, opened({"url": server.url}, PlexSource) as source:
        server.pages["/library/sections/1/all"] = bomb
        source.series()
        assert "library Films (1)" in str(source.source.troubles)
        assert "a document type is declared" in str(source.source.troubles)
        server.pages["/status/sessions"] = bomb
        with pytest.raises(BadResponse, match="a document type is declared"):
            source.series()


def test_all_requests_of_a_probe_share_one_limit() -> None:
    libraries = [Library(str(key), "show", "Shows") for key in range(20)]
    with PlexServer(libraries, EMPTY) as server:
        well: Any = server.routes

        def slowly(request: Any) -> Any:
            time.sleep(0.05)
            return well(request)

        server.routes = slowly
        with opened({"url": server.url, "timeout": 0.4}, PlexSource) as source:
            begin = time.monotonic()
            assert source.series_at_last() == dict.fromkeys(STREAMS, 0)
            assert time.monotonic() - begin < IN_TIME_SECONDS
            assert re.search(
                r"libraries: .*(no end after 0\.4 s|no answer within)", str(source.source.troubles)
            )


@pytest.mark.parametrize(
    "answer",
    [HttpResponse("", status=500), "<html>", sessions(""), '<MediaContainer totalSize="many"/>'],
    ids=["500", "a page", "no count", "no number"],
)
def test_a_library_that_cannot_be_counted_costs_its_totals_and_nothing_else(answer: Any) -> None:
    clock = FakeClock()
    films = 'library.items{library="Films",library_type="movie"}'
    with PlexServer() as server:
        well: Any = server.routes
        server.routes = lambda request: (
            answer if request.path == "/library/sections/4/all" else well(request)
        )
        section = {"url": server.url, "details": True}
        with opened(section, PlexSource, clock=clock) as source:
            found = source.series()
            if answer == sessions(""):  # says nothing about itself, as very old servers do
                assert found["lib.movies"] == 3
                return
            assert "lib.movies" not in found
            assert {**STREAMS, **LIBRARY, "lib.movies": 3}.items() - {("lib.movies", 3)} <= set(
                found.items()
            )
            assert found[films] == 3
            assert 'library.items{library="Films 4",library_type="movie"}' not in found
            assert "library Films (4): http" in str(source.source.troubles)
            server.routes = well
            clock.advance(59)
            assert "lib.movies" not in source.series()
            clock.advance(1)
            assert source.series()["lib.movies"] == LIBRARY["lib.movies"]
            assert not source.source.troubles


def test_what_cannot_be_read_of_libraries_and_streams_is_named() -> None:
    playing = (
        '<Video type="movie"><Session bandwidth="fast" location="lan"/></Video>'
        '<Video type="movie"><Session bandwidth="900" location="lan"/></Video>'
    )
    with PlexServer([Library("1/../2", "movie", "Films")], sessions(playing)) as server:
        with opened({"url": server.url, "details": True}, PlexSource) as source:
            found = source.series()
            assert (found["streams.movies"], found['streams.bandwidth{location="lan"}']) == (2, 900)
            assert "library 'Films': expected a number as its key, got '1/../2'" in str(
                source.source.troubles
            )
            assert "streams: bandwidth: expected a number, got 'fast'" in str(
                source.source.troubles
            )


def test_every_library_has_a_title_of_its_own() -> None:
    titles = ["Films", "Films", "Films 2", "Films 2"]
    libraries = [Library(str(key), "movie", title, {1: key}) for key, title in enumerate(titles, 1)]
    with PlexServer(libraries, EMPTY) as server:
        found = series(server, details=True)
    items = {key: value for key, value in found.items() if key.startswith("library.items")}
    assert items == {
        f'library.items{{library="{title}",library_type="movie"}}': key
        for key, title in enumerate(("Films", "Films 2 2", "Films 2", "Films 2 4"), 1)
    }


def test_an_address_without_a_scheme_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"url": "10.0.0.5:32400"}, PlexSource)
    assert failure.value.key == "url"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Misbehaviour.SILENT, TargetUnavailable),
        (Misbehaviour.TRICKLE, TargetUnavailable),
        (Misbehaviour.HANG_UP, TargetUnavailable),
        (Misbehaviour.CUT_SHORT, BadResponse),
        (Misbehaviour.RUBBISH, BadResponse),
        (HttpResponse("", status=503), BadResponse),
        ("<html><p>cats</p></html>", BadResponse),
        ("<MediaContainer>", BadResponse),
        ("", BadResponse),
        ("{}", BadResponse),
    ],
    ids=["hung", "slow loris", "reset", "cut short", "no HTTP", "503", "a page", "half XML",
         "empty", "JSON"],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False], ids=["sessions", "libraries"])
def test_a_server_that_breaks_fails_in_time_and_recovers(
    how: Any, error: type[ProbeError], first: bool
) -> None:
    clock = FakeClock()
    routes = {"*": how} if first else {"/status/sessions": EMPTY, "*": how}
    with serve_http(routes) as server, PlexServer() as well:
        with opened(
            {"url": server.url, "timeout": patience_for(error)}, PlexSource, clock=clock
        ) as source:
            begin = time.monotonic()
            if first:
                with pytest.raises(error):
                    source.series()
            else:
                assert source.series_at_last() == dict.fromkeys(STREAMS, 0)
                assert str(source.source.troubles).startswith("libraries: http")
            assert time.monotonic() - begin < IN_TIME_SECONDS
            server.routes = well.routes

            def recovered() -> bool:
                clock.advance(60)
                return source.series_at_last() == STREAMS | LIBRARY and not source.source.troubles

            wait_until(recovered, "all of it again", limit_seconds=IN_TIME_SECONDS)
