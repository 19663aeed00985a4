"""The page: what stands in it, whom it answers, and that nothing in it can run or load."""

import html.parser
import json
import re
import time
from typing import Any
from urllib.parse import urljoin

import msgspec
import pytest

from pollect.api import TargetUnavailable
from pollect.model import Reload
from pollect.status import Curve, FleetMember, FleetStatus, Glance
from pollect_writers.page.detail import detail_page
from pollect_writers.page.drawing import curve_paths, nice_ticks, time_marks
from pollect_writers.page.overview import overview_page
from pollect_writers.web import WebWriter
from tests.writers.page_status import NOW, detail, showing, source, status, strip, value, writer
from tests.writers.prometheus_scraper import BROWSER, build_prometheus, request, serving

HOSTILE = "\"><script>alert('x')</script><img src=http://evil.example/ onerror=alert(1)>&amp;"
VOID = {"meta", "link", "input", "br", "wbr", "img"}


class Text(html.parser.HTMLParser):
    """The words of a page, its elements, and the tags that are never closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    @property
    def all(self) -> str:
        return " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    def title(self) -> str:
        return self.words[0]


def test_the_title_names_what_is_wrong_the_worst_first() -> None:
    shown = status(
        source("home/Plex", "down"),
        source("home/Http", "troubled"),
        source("home/Evcc", "up"),
        source("home/Pmcc", "new"),
        writers=[writer("Mqtt", "down")],
    )
    title = Text(overview_page(shown)).title()
    assert title == "1 down, 1 troubled, 1 writer down, 1 not probed yet · attic · pollect"
    assert Text(overview_page(status(source()))).title().startswith("1 source, all up ·")


def test_a_row_says_state_reason_values_and_times() -> None:
    shown = status(
        source("home/SnmpGet/switch", "down", reason="no answer from 10.0.0.1", glance=[]),
        source("home/Http/web", "troubled", troubles=("a: 404", "b: no route to host")),
        source("home/Plex", "up", last_probe=None, next_probe=None),
    )
    text = Text(overview_page(shown))
    assert text.open == []
    rows = text.all.split("home", 1)[1]
    assert "SnmpGet · switch" in rows
    for words in ("✖ down", "no answer from 10. 0. 0. 1", "probed 4 s ago", "next in 6 s"):
        assert words in rows
    assert "a: 404 b: no route to host" in rows
    assert "streams 3" in rows
    assert "probed never next –" in rows
    assert rows.index("SnmpGet") < rows.index("Http") < rows.index("Plex")


def test_a_writer_that_is_down_says_why_and_what_is_lost() -> None:
    shown = status(writers=[writer("Mqtt", "down", reason="refused", lost=7, written=1_234_567)])
    text = Text(overview_page(shown)).all
    assert "Mqtt ✖ down refused written 1.23 M waiting 0 lost 7" in text


def test_a_config_that_was_not_taken_up_stands_above_all() -> None:
    reload = Reload(time=NOW - 60, successful=False, error="config.yml:3:1: a\n" * 7)
    text = Text(overview_page(status(source(), last_reload=reload))).all
    assert "The changed config was not taken up; the old one goes on." in text
    assert text.index("config.yml:3:1") < text.index("Plex")
    assert "and 2 more; `pollect check` lists them all" in text


@pytest.mark.parametrize("number", [1, 60, 61, 300])
def test_groups_without_problems_are_folded_when_there_are_many_sources(number: int) -> None:
    sources = [source(f"quiet/Http/{n}") for n in range(number)]
    page = overview_page(status(source("loud/Http/x", "down"), *sources))
    groups = [attributes for tag, attributes in Text(page).tags if tag == "details"]
    assert ["open" in group for group in groups] == [True, number < 60]


def test_three_hundred_sources_are_drawn_in_no_time() -> None:
    """A loose limit, for what grows out of all proportion; `make bench` has the figure."""
    curve = Curve(times=[NOW + n for n in range(60)], values=[float(n % 7) for n in range(60)])
    shown = status(*[source(f"c{n % 5}/Http/{n}", curve=curve) for n in range(300)])
    began = time.process_time()
    page = overview_page(shown)
    assert time.process_time() - began < 2.0
    assert len(page) < 1_000_000


def test_names_and_reasons_cannot_run_or_load_anything() -> None:
    hostile = source(
        f"home/Http/{HOSTILE}",
        "down",
        reason=HOSTILE,
        glance=[Glance(title=HOSTILE, text=HOSTILE, value=1.0, unit=HOSTILE)],
    )
    shown = status(
        hostile,
        source(f"{HOSTILE}/Http", "troubled", troubles=(HOSTILE,)),
        writers=[writer(HOSTILE, "down", reason=HOSTILE)],
        host=HOSTILE,
        config=HOSTILE,
        last_reload=Reload(time=NOW, successful=False, error=HOSTILE),
    )
    one = detail(
        hostile,
        last_error=HOSTILE,
        values=[value("x", labels={HOSTILE: HOSTILE}, help=HOSTILE, text=HOSTILE)],
    )
    for page in (overview_page(shown), detail_page(one, read_only=False)):
        text = Text(page)
        assert text.open == []
        assert sum(tag == "script" for tag, _ in text.tags) == 1
        assert not any(tag == "img" for tag, _ in text.tags)
        assert not any(name.startswith("on") for _, attributes in text.tags for name in attributes)
        assert not any("style" in attributes for _, attributes in text.tags)


def test_a_page_of_a_source_has_every_value_with_its_extent_and_options_without_secrets() -> None:
    text = Text(detail_page(detail(), read_only=False))
    assert text.open == []
    for words in (
        "home_ Plex_ bytes",
        "What it is.",
        "1 B 0 B 1 B 2 B",
        "Ended 7 ok, 2 timed out",
        "Skipped 1",
        "no answer within 10 s",
        "token ***",
        "pollect-sources-home 2.0.0",
        "Probe now",
    ):
        assert words in text.all
    assert "Probe now" not in Text(detail_page(detail(), read_only=True)).all


def test_many_series_share_a_plot_and_the_rest_is_folded() -> None:
    values = [value("bytes", labels={"disk": f"sd{n}"}) for n in range(30)]
    text = Text(detail_page(detail(values=values), read_only=False))
    plots = [attributes["data-plot"] for tag, attributes in text.tags if "data-plot" in attributes]
    assert len(plots) == 1
    assert len(json.loads(plots[0] or "")["series"]) == 8
    assert "18 more series" in text.all
    assert sum(tag == "tr" for tag, _ in text.tags) == 32


def test_a_curve_has_gaps_where_there_was_no_value() -> None:
    curve = Curve(times=[0.0, 10.0, 20.0, 30.0, 40.0, 200.0], values=[0, 5, None, 5, 10, 0])
    line, area = curve_paths(curve, 0.0, 200.0, 0.0, 10.0)
    assert line == "M0 100.0L50 50.0M150 50.0L200 0.0M1000 100.0L1000.5 100.0"
    assert area.count("Z") == 3


@pytest.mark.parametrize(
    ("low", "high", "divisor", "expected"),
    [
        (0.0, 0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (5.0, 5.0, 1.0, [4, 4.5, 5, 5.5, 6]),
        (20.1, 21.9, 1.0, [20, 20.5, 21, 21.5, 22]),
        (1.0, 97.0, 1.0, [0, 25, 50, 75, 100]),
        (-3.0, 3.0, 1.0, [-4, -2, 0, 2, 4]),
        (0.0, 3 * 1024.0, 1024.0, [0, 1024, 2048, 3072]),
    ],
)
def test_ticks_are_round_in_the_unit_that_is_shown(
    low: float, high: float, divisor: float, expected: list[float]
) -> None:
    assert nice_ticks(low, high, divisor) == pytest.approx(expected)


def test_marks_of_time_are_round_and_few() -> None:
    assert time_marks(1000.0, 4600.0) == [1200.0, 1800.0, 2400.0, 3000.0, 3600.0, 4200.0]
    assert len(time_marks(0.0, 3600.0 * 24 * 30)) <= 6


@pytest.fixture
def shown():
    endpoint = showing(
        build_prometheus(),
        shown=status(source("home/Http/a b&c?")),
        details={"home/Http/a b&c?": detail(source("home/Http/a b&c?"))},
        probe_now=lambda name: name == "home/Http/a b&c?",
    )
    with serving(endpoint) as writer:
        yield writer


def test_a_browser_gets_the_page_at_the_root_only(shown) -> None:
    page = request(shown, "/", headers={"Accept": BROWSER})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (
        "text/plain"
        in request(shown, "/metrics", headers={"Accept": BROWSER}).headers["content-type"]
    )
    assert "text/plain" in request(shown, "/").headers["content-type"]


def test_everything_the_page_refers_to_is_there_and_from_here(shown) -> None:
    page = request(shown, "/", headers={"Accept": BROWSER})
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "unsafe" not in policy
    links = [a.get("href") or a.get("src") for _, a in Text(page.text).tags]
    addresses = [link for link in links if link and not link.startswith(("data:", "#"))]
    assert len(addresses) >= 5
    for address in addresses:
        # Relative: a proxy may show it in a folder of its own.
        assert not re.match("[a-z]+:|/", address)
        answer = request(shown, urljoin("/", address), headers={"Accept": BROWSER})
        assert answer.status == 200, address
    source_page = next(a for a in addresses if "source=" in a)
    assert (
        "Probe now" in request(shown, urljoin("/", source_page), headers={"Accept": BROWSER}).text
    )


def test_status_json_says_the_same_to_programs(shown) -> None:
    answer = request(shown, "/status.json")
    assert answer.headers["content-type"].startswith("application/json")
    assert json.loads(answer.text)["sources"][0]["id"] == "home/Http/a b&c?"
    one = request(shown, "/status.json?source=home%2FHttp%2Fa%20b%26c%3F")
    assert json.loads(one.text)["lastError"] == "no answer within 10 s"
    assert request(shown, "/status.json?source=home/Nothing").status == 404


def test_the_page_can_be_switched_off() -> None:
    endpoint = showing(build_prometheus(page=False), shown=status(source()))
    with serving(endpoint) as writer:
        for path in ("/", "/status.json", "/-/page.css"):
            answer = request(writer, path, headers={"Accept": BROWSER})
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


PROBE = "/-/probe?source=home%2FHttp%2Fa%20b%26c%3F"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://{host}"}, 303),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://nas.example", "Sec-Fetch-Site": "same-origin"}, 303),  # by a proxy
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_only_the_page_itself_may_ask_for_a_probe(shown, headers, expected) -> None:
    host = f"127.0.0.1:{shown.port}"
    filled = {name: text.replace("{host}", host) for name, text in headers.items()}
    answer = request(shown, PROBE, method="POST", headers=filled)
    assert answer.status == expected
    if expected == 303:
        assert answer.headers["location"] == ".././?source=home%2FHttp%2Fa%20b%26c%3F"


def test_a_probe_is_asked_for_with_post_only_and_nothing_else_takes_one(shown) -> None:
    assert request(shown, PROBE).status == 405
    assert request(shown, "/status.json", method="POST").status == 405
    here = {"Origin": f"http://127.0.0.1:{shown.port}"}
    assert request(shown, "/-/probe?source=x", method="POST", headers=here).status == 404


def test_a_read_only_page_probes_nothing() -> None:
    endpoint = showing(
        build_prometheus(readOnly=True), shown=status(source()), probe_now=lambda name: True
    )
    with serving(endpoint) as writer:
        here = {"Origin": f"http://127.0.0.1:{writer.port}"}
        assert request(writer, PROBE, method="POST", headers=here).status == 403


def test_a_probe_that_does_not_end_is_said_so() -> None:
    def hang(name: str) -> bool:
        raise TargetUnavailable(f"{name}: the probe did not end within 10 s")

    endpoint = showing(build_prometheus(), shown=status(source()), probe_now=hang)
    with serving(endpoint) as writer:
        here = {"Origin": f"http://127.0.0.1:{writer.port}"}
        answer = request(writer, "/-/probe?source=a/B", method="POST", headers=here)
        assert (answer.status, answer.text) == (504, "a/B: the probe did not end within 10 s\n")


def test_web_is_the_page_alone() -> None:
    endpoint = showing(build_web(), shown=status(source()))
    with serving(endpoint) as writer:
        assert "home/Plex" in request(writer, "/").text
        assert request(writer, "/metrics").status == 404
        assert request(writer, "/status.json").status == 200
        assert request(writer, "/-/healthy").text == "healthy\n"


def build_web() -> Any:
    from pollect.testing import build_writer

    return build_writer({"port": 0, "bind": "127.0.0.1"}, WebWriter)


def test_a_strip_is_described_for_those_who_cannot_see_it() -> None:
    page = overview_page(status(source(strip=strip("up", "down", "troubled", "up"))))
    labels = [attributes.get("aria-label") for _, attributes in Text(page).tags]
    assert "last 4 minutes: down in 1 and troubled in 1" in labels


FLEET = FleetStatus(
    mode="lease",
    name="attic",
    group="house",
    engine_up=False,
    lease_remaining_seconds=0.0,
    members=[
        FleetMember(name="attic", version="2.0.0", shards=128, sources=3, same_config=True),
        FleetMember(name="<b>", version="2.0.0", shards=127, sources=4, same_config=False),
    ],
    shards=[1, 2],
    shared_sources=8,
    owned_sources=3,
    sources_without_owner=1,
)


def test_a_fleet_is_shown_with_its_members_and_what_is_wrong_with_it() -> None:
    elsewhere = source("home/Evcc", "elsewhere", owner="<b>", shard=7, glance=[], curve=None)
    nobody_s = source("home/Pmcc", "elsewhere", owner="", shard=9, glance=[], curve=None)
    shown = msgspec.structs.replace(status(source(), elsewhere, nobody_s), fleet=FLEET)
    page = overview_page(shown)

    assert "3 of 8 shared sources probed here" in page
    assert "the engine does not answer: nothing moves" in page
    assert "1 source without an owner" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "differs" in page
    assert "probed by &lt;b&gt;" in page
    assert "has no owner" in page
    assert 'class="group fleet"' not in overview_page(status(source()))


def test_a_source_without_values_says_that_this_is_normal() -> None:
    idle = source("host/MdRaid", outcome="no_data", glance=[], curve=None)

    assert "nothing to report" in overview_page(status(idle))
    assert "nothing to report" in detail_page(detail(idle), read_only=True)
    assert "nothing to report" not in overview_page(status(source()))


def test_a_page_of_a_source_names_its_owner_and_what_is_left_out() -> None:
    page = detail_page(detail(source(owner="attic", shard=7), dropped=12), read_only=True)

    assert "attic <small>shard 7</small>" in page
    assert "12 values beyond maxSeries" in page
    assert "shard" not in detail_page(detail(), read_only=True)


def test_a_source_that_another_member_probes_has_no_button_and_one_owner() -> None:
    away = source(state="elsewhere", owner="shard 0", shard=0, glance=[], curve=None, series=0)
    text = Text(detail_page(detail(away, values=[]), read_only=False)).all
    assert "Probe now" not in text
    assert text.count("shard 0") == 2, "where it is probed, and as its owner"
    assert "no values" in text


def test_without_a_history_the_page_says_why_it_has_no_values() -> None:
    text = Text(detail_page(detail(source(series=3), values=[]), read_only=True)).all
    assert "3 values are not kept here: history of the config is 0" in text
    assert "no values" not in text
