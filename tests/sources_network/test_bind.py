"""Bind against Debian's named, and against servers that are none."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from pollect.api import BadResponse, ConfigError, Kind, TargetUnavailable
from pollect.testing import FakeClock, HttpResponse, Misbehaviour, build_source, serve_http
from pollect_sources_network.bind.source import BindSource
from pollect_sources_network.bind.statistics import (
    cumulate_sizes,
    parse_statistics,
    split_cache,
)
from tests.simulators.daemons import free_port, free_udp_port
from tests.simulators.named import ZONE, ask, needs_named, run_named
from tests.sources_network.driver import OpenSource, opened

AAAA, MX = 28, 15


class Named(NamedTuple):
    url: str
    dns_port: int


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    """A resolver with two views, which asks a server that knows one zone."""
    folder = tmp_path_factory.mktemp("named")
    server_port, resolver_port, statistics_port = free_udp_port(), free_udp_port(), free_port()
    (folder / "server").mkdir()
    (folder / "server" / "example").write_text(ZONE)
    zone = 'zone "example" { type primary; file "example"; };'
    forward = (
        f"forward only; forwarders {{ 127.0.0.1 port {server_port}; }}; recursion yes; "
        "match-clients { %s; };"
    )
    views = (
        f'view "Internal" {{ {forward % "127.0.0.1"} }};\n'
        f'view "authoritative" {{ match-clients {{ none; }}; recursion no; }};'
    )
    with (
        run_named(folder / "server", zone, dns_port=server_port, statistics_port=free_port()),
        run_named(
            folder / "resolver", views, dns_port=resolver_port, statistics_port=statistics_port
        ),
    ):
        yield Named(f"http://127.0.0.1:{statistics_port}", resolver_port)


@pytest.mark.integration
@needs_named
@pytest.mark.parametrize("form", ["json", "xml"])
def test_queries_cache_and_resolver_of_a_real_named(named: Named, form: str) -> None:
    clock = FakeClock()
    config = {"url": named.url, "views": ["Internal"], "format": form}
    ask(named.dns_port, "www.example")
    ask(named.dns_port, "www.example", MX)
    with opened(config, BindSource, clock=clock) as source:
        first = source.series()
        assert first.keys() >= {'internal.cache.rrsets{queryType="a"}'}
        assert not any("per_sec" in name for name in first)
        for _ in range(5):
            ask(named.dns_port, "www.example")
        ask(named.dns_port, f"{form}.example", AAAA)
        clock.advance(10)
        second = source.series()
    assert second['server.queries_per_sec{queryType="a"}'] == 0.5
    assert second['server.queries_per_sec{queryType="mx"}'] == 0
    assert second['internal.queries_per_sec{queryType="v4"}'] == pytest.approx(0.1, abs=0.1)
    assert second['internal.queries_per_sec{queryType="v6"}'] == 0
    assert second['internal.cache_per_sec{queryType="hits"}'] >= 0.5
    assert 'internal.cache_per_sec{queryType="misses"}' in second


@pytest.mark.integration
@needs_named
def test_all_views_but_the_internal_one_are_the_default(named: Named) -> None:
    with opened({"url": named.url}, BindSource, clock=(clock := FakeClock())) as source:
        source.series()
        clock.advance(10)
        views = {name.partition(".")[0] for name in source.series()}
    assert views == {"server", "internal", "authoritative"}


@pytest.mark.integration
@needs_named
def test_details_of_a_real_named(named: Named) -> None:
    config = {"url": named.url, "details": True}
    with opened(config, BindSource, clock=(clock := FakeClock())) as source:
        source.series()
        ask(named.dns_port, "www.example")
        clock.advance(10)
        found = source.series()
    assert found['server.requests_per_sec{opcode="QUERY"}'] == 0.1
    assert found['server.responses_per_sec{rcode="NOERROR"}'] == 0.1
    assert found['server.events_per_sec{event="QrySuccess"}'] == 0.1
    assert 1_700_000_000 < found["boot_time"] <= found["config_time"]
    assert found["server.recursive_clients"] == 0
    assert found['internal.cache.deletions_per_sec{reason="lru"}'] == 0
    assert found['internal.resolver_events_per_sec{event="ValFail"}'] == 0
    assert 'internal.resolver_events_per_sec{event="QryRTT1600+"}' in found
    assert found['internal.cache.memory_bytes{memory="tree"}'] > 0
    assert 'internal.resolver_events_per_sec{event="Lame"}' in found


STATISTICS: dict[str, Any] = {
    "boot-time": "2026-01-01T00:00:00.000Z",
    "qtypes": {"A": 10},
    "views": {
        "_default": {
            "resolver": {
                "stats": {"Queryv4": 5},
                "cachestats": {"CacheHits": 1, "CacheMisses": 2},
                "cache": {"A": 7, "!A": 3, "#A": 2, "~A": 1, "NXDOMAIN": 4, "!TXT": 1},
            }
        },
        "small": {"resolver": {}},
        "_bind": {"resolver": {"cache": {"A": 1}}},
    },
}


class Authoritative(NamedTuple):
    url: str
    dns_port: int


@pytest.fixture(scope="module")
def authoritative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authoritative]:
    """A server with zones in two views, one of them of the same name."""
    folder = tmp_path_factory.mktemp("zones")
    (folder / "one").write_text(ZONE)
    (folder / "later").write_text(ZONE.replace(" 1 3600", " 2026112201 3600"))
    views = """
        view "inside" {
            match-clients { 127.0.0.1; };
            zone "example" { type primary; file "one"; };
            zone "shop.example" { type primary; file "later"; };
            zone "2.0.192.in-addr.arpa" { type primary; file "one"; };
        };
        view "Outside" {
            match-clients { none; };
            zone "example" { type primary; file "later"; };
        };
    """
    dns_port, statistics_port = free_udp_port(), free_port()
    with run_named(folder, views, dns_port=dns_port, statistics_port=statistics_port):
        yield Authoritative(f"http://127.0.0.1:{statistics_port}", dns_port)


@pytest.fixture(scope="module")
def half_loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with a zone whose file is missing."""
    folder = tmp_path_factory.mktemp("half")
    (folder / "one").write_text(ZONE)
    zones = """
        zone "example" { type primary; file "one"; };
        zone "gone.example" { type primary; file "no-such-file"; };
    """
    port = free_port()
    with run_named(folder, zones, dns_port=free_udp_port(), statistics_port=port):
        yield f"http://127.0.0.1:{port}"


def only(found: dict[str, float], start: str) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.startswith(start)}


@pytest.mark.integration
@needs_named
@pytest.mark.parametrize("path", ["", "/json/v1", "/xml/v3"])
@pytest.mark.parametrize("form", ["json", "xml"])
def test_the_serials_of_zones_are_read(authoritative: Authoritative, form: str, path: str) -> None:
    config = {"url": authoritative.url + path, "format": form, "zones": ["*example"]}
    with opened(config, BindSource) as source:
        assert only(source.series(), "zone_serial") == {
            'zone_serial{zone="example",view="inside",type="primary"}': 1,
            'zone_serial{zone="shop.example",view="inside",type="primary"}': 2026112201,
            'zone_serial{zone="example",view="Outside",type="primary"}': 2026112201,
        }


@pytest.mark.integration
@needs_named
def test_details_report_all_zones_that_are_not_nameds_own(authoritative: Authoritative) -> None:
    with opened({"url": authoritative.url, "details": True}, BindSource) as source:
        assert len(only(source.series(), "zone_serial")) == 4
    config = {"url": authoritative.url, "details": True, "views": ["inside"]}
    with opened(config, BindSource) as source:
        assert len(only(source.series(), "zone_serial")) == 3
    with opened(config | {"zones": []}, BindSource) as source:
        assert only(source.series(), "zone_serial") == {}


@pytest.mark.integration
@needs_named
def test_zones_that_named_makes_by_itself_are_read_when_they_are_asked_for(
    authoritative: Authoritative,
) -> None:
    config = {"url": authoritative.url, "zones": ["10.in-addr.arpa."], "views": ["inside"]}
    with opened(config, BindSource) as source:
        assert only(source.series(), "zone_serial") == {
            'zone_serial{zone="10.IN-ADDR.ARPA",view="inside",type="builtin"}': 0
        }


@pytest.mark.integration
@needs_named
@pytest.mark.parametrize("form", ["json", "xml"])
def test_sizes_of_requests_and_responses_are_a_histogram(
    authoritative: Authoritative, form: str
) -> None:
    config = {"url": authoritative.url, "format": form, "traffic": True}

    def bucket(direction: str, transport: str, bound: str) -> str:
        return f'traffic_{direction}_size_bucket{{transport="{transport}",le="{bound}"}}'

    with opened(config, BindSource) as source:
        before = source.series()
        ask(authoritative.dns_port, "www.example")  # 29 bytes, and 45 come back
        ask(authoritative.dns_port, "www.example", tcp=True)
        ask(authoritative.dns_port, ".".join(["x" * 60] * 3) + ".example")
        after = source.series()
        kinds = {s.metric.kind for s in source.samples() if "traffic" in (s.metric.name or "")}
    grown = {name: after[name] - before[name] for name in only(after, "traffic")}
    assert kinds == {Kind.COUNTER}
    assert [grown[bucket("received", "udpv4", each)] for each in ("31", "127", "255", "+Inf")] == [
        1, 1, 2, 2,
    ]  # fmt: skip
    assert grown[bucket("received", "tcpv4", "31")] == grown[bucket("sent", "tcpv4", "63")] == 1
    assert [grown[bucket("sent", "udpv4", each)] for each in ("63", "511", "+Inf")] == [1, 2, 2]
    assert grown[bucket("sent", "udpv6", "+Inf")] == 0


def test_more_zones_than_anybody_looks_at_are_cut_off_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    zones = [{"name": f"z{n:04}.example", "type": "secondary", "serial": n} for n in range(1000)]
    routes = {
        "/json/v1/server": STATISTICS,
        "/json/v1/zones": {"boot-time": "", "views": {"_default": {"zones": zones}}},
    }
    with serve_http(routes) as server:
        with opened({"url": server.url, "details": True}, BindSource) as source:
            found = only(source.series(), "zone_serial")
            assert found.keys() == only(source.series(), "zone_serial").keys()
        with opened({"url": server.url, "zones": ["z*"]}, BindSource) as source:
            assert len(only(source.series(), "zone_serial")) == 1000
    assert len(found) == 200
    [record] = caplog.records
    assert record.message == (
        "zones: 1000, of which the first 200 are reported; `zones` selects some"
    )


def test_zones_and_traffic_that_named_does_not_have_are_missed_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve_http({"/json/v1/server": STATISTICS}) as server:
        with opened({"url": server.url, "zones": ["a"], "traffic": True}, BindSource) as source:
            assert source.series() == source.series()
    assert sorted(record.message for record in caplog.records) == [
        "traffic: named has no such statistics",
        "zones: named has none of those asked for",
    ]


@pytest.mark.integration
@needs_named
@pytest.mark.parametrize("path", ["", "/json/v1", "/xml/v3"])
@pytest.mark.parametrize("form", ["json", "xml"])
def test_zone_without_a_file_costs_only_its_own_serial(
    half_loaded: str, form: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"url": half_loaded + path, "format": form, "zones": ["example", "gone.example"]}
    with opened(config, BindSource) as source:
        found = source.series()
        assert source.series().keys() >= found.keys()
        troubles = source.source.troubles.texts()
    assert only(found, "zone_serial") == {
        'zone_serial{zone="example",view="_default",type="primary"}': 1
    }
    assert troubles == ("zones without serial: gone.example: no file, or not transferred yet",)
    assert len(caplog.messages) == 1


def test_serial_of_null_costs_only_itself() -> None:
    zones = [
        {"name": "a", "class": "IN", "type": "secondary", "serial": None},
        {"name": "b", "class": "IN", "type": "primary", "serial": 7},
        {"name": "b", "class": "CH", "type": "primary", "serial": 8},
        {"name": ".", "class": "IN", "type": "hint", "serial": "-"},
    ]
    page = {**STATISTICS, "views": {"_default": {"zones": zones}}}
    with serve_http({"/json": page}) as server:
        with opened({"url": f"{server.url}/json", "zones": ["*"]}, BindSource) as source:
            found = only(source.series(), "zone_serial")
            troubles = source.source.troubles.texts()
    assert found == {
        'zone_serial{zone="b",view="_default",type="primary"}': 7,
        'zone_serial{zone="b_CH",view="_default",type="primary"}': 8,
    }
    assert troubles == ("zones without serial: a: no file, or not transferred yet",)


@pytest.mark.parametrize(
    ("broken", "trouble"),
    [
        ({"qtypes": {"A": 10, "MX": "x"}}, "qtypes: MX: expected a number, got 'x'"),
        ({"rcodes": 5}, "rcodes: expected an object, got 5"),
        ({"nsstats": {"QrySuccess": None}}, "nsstats: QrySuccess: expected a number, got None"),
        ({"views": {"a": 1}}, "view a: expected an object, got 1"),
        (
            {"views": {"a": {"zones": [{"serial": 1}]}}},
            "zones: expected a zone with a name, got {'serial': 1}",
        ),
        (
            {"traffic": {"dns-udp-requests-sizes-received-ipv4": 1}},
            "dns-udp-requests-sizes-received-ipv4: expected an object, got 1",
        ),
    ],
)
def test_unreadable_member_costs_only_itself(broken: dict[str, Any], trouble: str) -> None:
    clock = FakeClock()
    with serve_http({"/json": {**STATISTICS, **broken}}) as server:
        with opened({"url": f"{server.url}/json"}, BindSource, clock=clock) as source:
            source.series()
            clock.advance(10)
            assert source.series()['server.queries_per_sec{queryType="a"}'] == 0
            assert source.source.troubles.texts() == (f"counters of named: {trouble}",)
            server.routes = {"/json": STATISTICS}
            source.series()
            assert not source.source.troubles


def test_xml_with_an_unreadable_number_costs_only_itself() -> None:
    counters = '<counter name="A">10</counter><counter name="MX">-x</counter>'
    page = (
        '<statistics version="3.8"><server><boot-time>2026-01-01T00:00:00Z</boot-time>'
        f'<counters type="qtype">{counters}</counters></server></statistics>'
    )
    statistics = parse_statistics(page.encode())
    assert statistics.query_types == {"A": 10}
    assert statistics.problems == ["qtype: MX: expected a number, got '-x'"]


def test_zones_that_cannot_be_asked_for_cost_no_counters() -> None:
    routes = {"/json/v1/server": STATISTICS, "/json/v1/zones": HttpResponse("", status=500)}
    with serve_http(routes) as server:
        with opened({"url": server.url, "zones": ["a"]}, BindSource) as source:
            assert source.series()
            assert source.source.troubles.texts()[0].startswith("zones of named: ")


def test_views_that_differ_in_letter_case_only_are_told_apart() -> None:
    views = {
        "lan": {"resolver": {"cache": {"A": 1}}},
        "Lan": {"resolver": {"cache": {"A": 2, "a": 3}}},
    }
    with serve_http({"/json": {**STATISTICS, "views": views}}) as server:
        with opened({"url": f"{server.url}/json"}, BindSource) as source:
            found = source.series()
    assert found == {
        'lan.cache.rrsets{queryType="a"}': 5,
        'lan_2.cache.rrsets{queryType="a"}': 1,
    }


def test_the_sizes_of_a_busy_server_are_added_up() -> None:
    sizes = {"16-31": 5, "240-255": 3, "256-271": 2, "288+": 1}
    assert cumulate_sizes(sizes, (31, 255)) == [("31", 5), ("255", 8), ("+Inf", 11)]
    with pytest.raises(BadResponse, match="expected sizes like"):
        cumulate_sizes({"0-many": 1}, (31,))


def test_a_is_the_count_of_positive_entries() -> None:
    with serve_http({"/json/v1/server": STATISTICS}) as server:
        with opened({"url": server.url}, BindSource) as source:
            assert source.series() == {
                '_default.cache.rrsets{queryType="a"}': 7,
                '_default.cache.rrsets{queryType="nxdomain"}': 4,
            }
        with opened({"url": server.url, "details": True}, BindSource) as source:
            found = source.series()
    assert found['_default.cache.rrsets_negative{queryType="a"}'] == 3
    assert found['_default.cache.rrsets_stale{queryType="a"}'] == 2
    assert split_cache({"": 1, "A": 1, "!#A": 2})["!"] == {"a": 2}


def test_a_restarted_named_gives_no_rate() -> None:
    clock = FakeClock()
    with serve_http({"*": STATISTICS}) as server:

        def probe(source: OpenSource, **changes: Any) -> dict[str, float]:
            clock.advance(10)
            server.routes = {"*": {**STATISTICS, **changes, "views": {}}}
            return source.series()

        with opened({"url": server.url}, BindSource, clock=clock) as source:
            probe(source)
            rate = 'server.queries_per_sec{queryType="a"}'
            assert probe(source, qtypes={"A": 30, "MX": 1}) == {rate: 2}
            assert probe(source, **{"boot-time": "2026-02-01T00:00:00Z"}) == {}
            assert probe(source, **{"boot-time": "2026-02-01T00:00:00Z"}) == {rate: 0}


def test_two_probes_at_the_same_moment_give_no_rate() -> None:
    with (
        serve_http({"*": STATISTICS}) as server,
        opened({"url": server.url}, BindSource, clock=FakeClock()) as source,
    ):
        assert source.series() == source.series()


def test_an_unknown_view_is_named_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serve_http({"*": STATISTICS}) as server,
        opened({"url": server.url, "views": ["_DEFAULT", "_default"]}, BindSource) as source,
    ):
        assert source.series() == source.series()
    [record] = caplog.records
    assert record.message == (
        "view _DEFAULT: not known to named, there are: _bind, _default, small"
    )


def test_what_the_server_does_not_have_is_asked_for_once() -> None:
    xml = '<statistics version="3.8"><server><boot-time>2026-01-01T00:00:00Z</boot-time></server>'
    page = HttpResponse(f"{xml}</statistics>", headers={"Content-Type": "text/xml"})
    with serve_http({"/xml/v3/server": page}) as server:
        with opened({"url": server.url}, BindSource) as source:
            source.series()
            source.series()
        paths = [request.path for request in server.requests]
    assert paths == ["/json/v1/server", "/xml/v3/server", "/xml/v3/server"]


def test_a_url_with_a_path_is_used_as_it_is() -> None:
    with serve_http({"/stats/json": STATISTICS}) as server:
        with opened({"url": f"{server.url}/stats/json"}, BindSource) as source:
            assert source.series()
        assert {request.path for request in server.requests} == {"/stats/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b"<statistics/>",
        b"<statistics><server>",
        b'<!DOCTYPE s [<!ENTITY a "aaaa">]><statistics><server>&a;</server></statistics>',
    ],
)
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse, match="of BIND, got"):
        parse_statistics(body)


def test_a_server_without_statistics_is_a_bad_response() -> None:
    with (
        serve_http({}) as server,
        opened({"url": server.url}, BindSource) as source,
        pytest.raises(BadResponse, match="no statistics of BIND there"),
    ):
        source.series()


@pytest.mark.parametrize("how", [Misbehaviour.SILENT, Misbehaviour.TRICKLE])
def test_a_server_that_hangs_is_unavailable_in_time(how: Misbehaviour) -> None:
    with (
        serve_http({"*": how}) as server,
        opened({"url": server.url, "timeout": 0.2}, BindSource) as source,
        pytest.raises(TargetUnavailable, match=r"no answer within 0\.2 s"),
    ):
        source.series()


def test_a_url_without_a_scheme_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"url": "192.168.1.10:8053"}, BindSource)
    assert failure.value.key == "url"
