"""What a person sees: the page in a real browser, and what happens when things change."""

import time
from typing import Any

import msgspec
import pytest

from pollect.api import Status
from pollect.model import Reload
from pollect.status import Curve, FleetMember, FleetStatus, Glance
from pollect.testing.waiting import wait_until
from tests.browser.driver import LIMIT_SECONDS, Browser, browsing
from tests.simulators.daemons import free_port
from tests.writers.page_status import detail, source, status, value, writer
from tests.writers.prometheus_scraper import build_prometheus, serving

pytestmark = pytest.mark.timeout(600)

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Shown:
    """An endpoint whose status a test may change."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self.details: dict[str, Any] = {}
        self.probed: list[str] = []
        self.port = free_port()
        self.endpoint = self._build()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def again(self) -> Any:
        """Return another endpoint on the same port, as after a restart."""
        self.endpoint = self._build()
        return self.endpoint

    def show(
        self, *sources: Any, writers: Any = (), fleet: FleetStatus | None = None, **facts: Any
    ) -> None:
        facts.setdefault("now", time.time())
        made = status(*sources, writers=writers or [writer()], **facts)
        self.status = msgspec.structs.replace(made, fleet=fleet)

    def _build(self) -> Any:
        made = build_prometheus(port=self.port)

        def probe(name: str) -> bool:
            self.probed.append(name)
            return name in self.details

        context = msgspec.structs.replace(
            made.context,
            status=lambda: self.status,
            source_detail=lambda name: self.details.get(name),
            probe_now=probe,
        )
        return type(made)(made.config, context)


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture
def shown():
    page = Shown()
    with serving(page.endpoint):
        yield page


@pytest.fixture(autouse=True)
def fresh_window(request: pytest.FixtureRequest):
    yield
    if "browser" in request.fixturenames:
        window = request.getfixturevalue("browser")
        window.without_script(False)
        window.resize(1400, 1000)
        window.prefer("light")
        window.open("about:blank")
        window.errors()


def some_sources() -> list[Any]:
    now = time.time()
    curve = Curve(
        times=[now - 3600 + 60 * n for n in range(60)], values=[float(n % 13) for n in range(60)]
    )
    facts = {"last_probe": now - 3, "next_probe": now + 7, "since": now - 9000, "curve": curve}
    return [
        source("home/SnmpGet/switch", "down", reason="no answer from 10.0.0.9", glance=[], **facts),
        source("home/Http/shop", "troubled", troubles=("https://shop.example/: 503",), **facts),
        source("home/Plex", "up", **facts),
        source("system/LoadAvg", "up", **facts),
    ]


def states(browser: Browser) -> list[list[str]]:
    return browser.run(  # type: ignore[no-any-return]
        "return [...document.querySelectorAll('.row[data-id]')]"
        ".filter((row) => row.checkVisibility())"
        ".map((row) => [row.dataset.id, row.dataset.state])"
    )


def fits(browser: Browser) -> bool:
    """Whether nothing is wider than the window."""
    return bool(
        browser.run(
            "const wide = document.documentElement.clientWidth;"
            "return document.documentElement.scrollWidth <= wide && "
            "[...document.querySelectorAll('main *, header *')].every((element) => "
            "element.closest('.scroll, .hidden, svg') || "
            "element.getBoundingClientRect().right <= wide + 1)"
        )
    )


def test_a_person_sees_what_is_wrong_first_and_its_reason(browser: Browser, shown: Shown) -> None:
    shown.show(*some_sources())
    browser.open(shown.url)
    assert browser.title.startswith("1 down, 1 troubled ·")
    for text in ("✖ 1 down", "▲ 1 troubled", "✔ 2 up", "no answer from 10.0.0.9", "503"):
        assert text in browser.text
    assert states(browser)[0] == ["home/SnmpGet/switch", "down"]
    colours = browser.run(
        "return ['up', 'troubled', 'down'].map((state) => "
        "getComputedStyle(document.querySelector(`.row .pill.${state}`)).color)"
    )
    assert len(set(colours)) == 3
    assert browser.errors() == []
    browser.shoot("troubled-home")


def test_the_page_follows_what_happens_without_being_loaded_again(
    browser: Browser, shown: Shown
) -> None:
    sources = some_sources()
    shown.show(*sources)
    browser.open(shown.url)
    browser.run("window.mark = 'kept'")
    back = source(
        "home/SnmpGet/switch", "up", glance=[Glance(title="ports", text="48", value=48.0, unit="")]
    )
    shown.show(back, *sources[1:])
    browser.see("48")
    browser.see("1 troubled · attic")
    assert "no answer from 10.0.0.9" not in browser.text
    shown.show(source("home/Pmcc", "down", reason="new and down at once"), back, *sources[1:])
    browser.see("new and down at once")
    assert browser.run("return window.mark") == "kept"
    assert browser.errors() == []


def test_a_writer_that_is_down_is_seen_above_all_sources(browser: Browser, shown: Shown) -> None:
    counts = "return document.querySelector('.counts').innerText"
    shown.show(source(), writers=[writer("Mqtt", "down", reason="no route to host")])
    browser.open(shown.url)
    assert "1 writer down" in browser.run(counts)
    shown.show(source(), writers=[writer("Mqtt", "down"), writer("Otel", "down")])
    wait_until(lambda: "2 writers down" in browser.run(counts), limit_seconds=LIMIT_SECONDS)
    shown.show(source(), writers=[writer("Mqtt"), writer("Otel")])
    wait_until(lambda: "writer" not in browser.run(counts), limit_seconds=LIMIT_SECONDS)


def test_a_daemon_that_does_not_answer_is_noticed_and_so_is_its_return(browser: Browser) -> None:
    shown = Shown()
    shown.show(*some_sources())
    with serving(shown.endpoint):
        browser.open(shown.url)
    browser.see("pollect does not answer (no connection)")
    assert browser.title.startswith("no answer ·")
    browser.shoot("no-answer")
    with serving(shown.again()):
        shown.show(*some_sources())
        wait_until(
            lambda: browser.title.startswith("1 down, 1 troubled ·"),
            "the title as before",
            limit_seconds=LIMIT_SECONDS,
        )
        assert "does not answer" not in browser.text


def test_search_and_only_problems_leave_what_fits(browser: Browser, shown: Shown) -> None:
    shown.show(*some_sources())
    browser.open(shown.url)
    browser.click("#problems")
    assert [name for name, _ in states(browser)] == ["home/SnmpGet/switch", "home/Http/shop"]
    browser.click("#problems")
    browser.type("503", "#search")
    assert [name for name, _ in states(browser)] == ["home/Http/shop"]
    browser.type(" nothing", "#search")
    assert "No source fits." in browser.text


def test_it_is_used_by_keyboard_alone(browser: Browser, shown: Shown) -> None:
    shown.details["home/Http/shop"] = detail(source("home/Http/shop", "troubled"))
    shown.show(*some_sources())
    browser.open(shown.url)
    browser.press("j")
    browser.press("j")
    focused = "return document.activeElement.closest('.row')?.dataset.id"
    assert browser.run(focused) == "home/Http/shop"
    browser.press("k")
    assert browser.run(focused) == "home/SnmpGet/switch"
    browser.press("p")
    assert len(states(browser)) == 2
    browser.press("p")
    browser.press("/")
    browser.type("shop", "#search")
    assert len(states(browser)) == 1
    browser.press("\ue00c")  # Escape
    assert len(states(browser)) == 4
    browser.press("j")
    browser.press("j")
    browser.press("\ue007")  # Enter
    browser.see("home/Http/shop: troubled")
    browser.press("\ue00c")
    browser.see("1 down, 1 troubled ·")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 600, 900, 1400, 2560])
def test_nothing_is_off_screen_at_any_width(
    browser: Browser, shown: Shown, width: int, scheme: str
) -> None:
    long = "a-very-long-name-without-a-single-blank-" * 3
    shown.details["home/Plex"] = detail(
        values=[value("bytes", labels={"path": f"/{long}/{n}"}) for n in range(3)]
    )
    reload = Reload(time=time.time(), successful=False, error=f"/etc/{long}.yml:3:1: {long}")
    shown.show(
        source(f"home/Http/{long}", "down", reason=f"https://{long}.example/: no route to host"),
        *some_sources(),
        config=f"/etc/{long}/config.yml",
        last_reload=reload,
    )
    browser.resize(width, 1000)
    browser.prefer(scheme)
    browser.open(shown.url)
    assert fits(browser)
    browser.shoot(f"overview-{width}-{scheme}")
    browser.open(f"{shown.url}?source=home/Plex")
    assert fits(browser)
    browser.shoot(f"source-{width}-{scheme}")


@pytest.mark.parametrize(("width", "beside"), [(1400, 1), (1900, 1), (2560, 2), (3840, 4)])
def test_a_wide_screen_shows_sources_beside_each_other(
    browser: Browser, shown: Shown, width: int, beside: int
) -> None:
    shown.show(*(source(f"home/Http/s{number}") for number in range(4)))
    browser.resize(width, 1000)
    browser.open(shown.url)
    tops = browser.run(
        "return [...document.querySelectorAll('#sources .row')]"
        ".map(row => row.getBoundingClientRect().top)"
    )
    assert tops.count(tops[0]) == beside
    assert fits(browser)


def test_hostile_names_stay_text_in_every_place(browser: Browser, shown: Shown) -> None:
    hostile = source(
        f"home/Http/{HOSTILE}",
        "down",
        reason=HOSTILE,
        glance=[Glance(title=HOSTILE, text=HOSTILE, value=1.0, unit="")],
    )
    shown.details[hostile.id] = detail(hostile, values=[value("x", labels={HOSTILE: HOSTILE})] * 2)
    shown.show(hostile, writers=[writer(HOSTILE, "down", reason=HOSTILE)])
    browser.open(shown.url)
    assert HOSTILE in browser.text
    # As redrawn by the script, too.
    shown.show(hostile, source(HOSTILE.replace("/", "") + "/Http"), writers=[writer(HOSTILE)])
    browser.see("1 down ·")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    browser.click(".row a.name")
    browser.see("home/Http/<img")
    browser.run("document.querySelector('.plot').focus()")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.title.startswith("home/Http/<img src=x")
    assert browser.errors() == []


def test_a_name_that_turns_writing_around_leaves_the_rest_of_its_row_alone(
    browser: Browser, shown: Shown
) -> None:
    shown.show(source("home/Http/\u202egnp.exe"), source("home/Http/plain"))
    browser.open(shown.url)
    gaps = browser.run(
        "return [...document.querySelectorAll('.row[data-id] .what')].map((what) => "
        "what.querySelector('.pill').getBoundingClientRect().left - "
        "what.querySelector('.name').getBoundingClientRect().right)"
    )
    assert len(gaps) == 2
    assert all(gap > 0 for gap in gaps), "the state stands behind the name"


def test_a_source_without_values_leaves_no_room_for_a_curve(browser: Browser, shown: Shown) -> None:
    down = source("home/Evcc", "down", glance=[], curve=None)
    shown.show(down, source())
    browser.open(shown.url)
    drawn = (
        "return [...document.querySelectorAll('.row[data-id] .spark')]"
        ".map((spark) => spark.checkVisibility())"
    )
    assert browser.run(drawn) == [False, True]
    # It comes with the first value, as the script draws it.
    shown.show(source("home/Evcc", "up"), source())
    browser.see("2 sources, all up")
    assert browser.run(drawn) == [True, True]


def test_a_counter_shows_how_far_it_has_counted_beside_how_fast(
    browser: Browser, shown: Shown
) -> None:
    hours = [
        value("hours", labels={"drive": name}, kind="counter", total="4,000 h", text="0 h/s")
        for name in ("sda", "sdb")
    ]
    shown.details["home/Plex"] = detail(values=[*hours, value("temperature")])
    shown.show(*some_sources())
    browser.resize(400, 1000)
    browser.open(f"{shown.url}?source=home/Plex")
    assert "4,000 h" in browser.text
    heads = browser.run(
        "return [...document.querySelectorAll('.metric table')].map((table) => "
        "[...table.querySelectorAll('thead th')].filter((head) => head.checkVisibility())"
        ".map((head) => head.innerText))"
    )
    assert heads == [["Series", "Total", "Now"], ["Series", "Now", "Min", "Max"]]
    assert fits(browser)


def some_fleet(*, same_config: bool = True) -> FleetStatus:
    return FleetStatus(
        mode="lease",
        name="attic",
        group="house",
        members=[
            FleetMember(name=name, version="2.0.0", shards=128, sources=4, same_config=same)
            for name, same in (("attic", True), ("cellar", same_config))
        ],
        shards=[1],
        shared_sources=8,
        owned_sources=4,
        lease_remaining_seconds=9.0,
    )


def test_a_fleet_is_shown_and_followed(browser: Browser, shown: Shown) -> None:
    away = source("home/Evcc", "elsewhere", owner="cellar", shard=3, glance=[], curve=None)
    shown.show(source(), away, fleet=some_fleet())
    browser.open(shown.url)
    for text in ("Fleet house", "cellar", "the same", "probed by cellar", "⇄ 1 elsewhere"):
        assert text in browser.text
    assert browser.title.startswith("1 source, all up, 1 elsewhere ·")
    assert "probed never" not in browser.text
    browser.resize(400, 1000)
    assert fits(browser)
    browser.shoot("fleet-400")
    browser.resize(1400, 1000)
    browser.shoot("fleet")
    idle = source(outcome="no_data", glance=[], curve=None)
    shown.show(idle, away, fleet=some_fleet(same_config=False))
    browser.see("differs")
    browser.see("nothing to report")
    assert browser.title.startswith("1 source, all up, 1 elsewhere ·"), "as the script says it"
    assert browser.errors() == []


def test_three_hundred_sources_are_folded_and_found(browser: Browser, shown: Shown) -> None:
    facts = some_sources()
    bad = source("flat7/Http/9", "down", reason="no route to host")
    many = [source(f"flat{n % 10}/Http/{n}", curve=facts[0].curve) for n in range(300)]
    shown.show(bad, *sorted(many, key=lambda one: one.collection))
    browser.open(shown.url)
    assert "no route to host" in browser.text
    assert len(states(browser)) < 100
    browser.shoot("three-hundred")
    browser.type("http/299", "#search")
    assert [name for name, _ in states(browser)] == ["flat9/Http/299"]
    took = browser.run(
        "const [page] = performance.getEntriesByType('navigation');"
        "return page.responseStart - page.requestStart"
    )
    assert took < 2000  # a loose limit, for what grows out of all proportion


def test_the_page_is_whole_without_its_script(browser: Browser, shown: Shown) -> None:
    shown.details["home/Plex"] = detail()
    shown.show(*some_sources())
    browser.without_script(True)
    browser.open(shown.url)
    dom = browser.command("DOMSnapshot.captureSnapshot", computedStyles=[])["strings"]
    assert "no answer from 10." in dom
    assert any(text.startswith("M0 ") for text in dom)  # a curve
    browser.shoot("without-script")


def test_a_page_of_a_source_shows_plots_whose_values_follow_the_pointer_and_the_keys(
    browser: Browser, shown: Shown
) -> None:
    values = [value("bytes", labels={"disk": name}) for name in ("sda", "sdb")]
    shown.details["home/Plex"] = detail(values=values)
    shown.show(*some_sources())
    browser.open(f"{shown.url}?source=home/Plex")
    browser.run(
        "const plot = document.querySelector('.plot'); const box = plot.getBoundingClientRect();"
        "plot.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width / 2}))"
    )
    tip = "return document.querySelector('.tip')?.innerText ?? ''"
    assert "disk=sda 2 B" in browser.run(tip)
    assert "disk=sdb 2 B" in browser.run(tip)
    browser.run("document.querySelector('.plot').focus()")
    browser.press("\ue011")  # Home
    assert "disk=sda 0 B" in browser.run(tip)
    browser.press("\ue014")  # right
    assert "disk=sda 2 B" in browser.run(tip)
    browser.shoot("source-pointer")
    assert browser.errors() == []


def test_probe_now_asks_the_daemon_and_shows_what_came(browser: Browser, shown: Shown) -> None:
    shown.details["home/Plex"] = detail(source(last_probe=time.time() - 100))
    shown.show(*some_sources())
    browser.open(f"{shown.url}?source=home/Plex")
    shown.details["home/Plex"] = detail(
        source("home/Plex", "troubled", last_probe=time.time(), troubles=("the attic is on fire",))
    )
    browser.click("#probe button")
    browser.see("the attic is on fire")
    assert shown.probed == ["home/Plex"]
    browser.see("home/Plex: troubled")


def test_a_screen_reader_finds_names_and_roles(browser: Browser, shown: Shown) -> None:
    shown.show(*some_sources())
    browser.open(shown.url)
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if "role" in node
    }
    assert ("searchbox", "Search sources") in named
    assert ("checkbox", "only problems") in named
    assert ("heading", "attic") in named
    assert ("link", "SnmpGet · switch") in named
    assert ("main", "") in named
    pictures = {name for role, name in named if role == "image" or role == "img"}
    assert "streams: 3, last hour" in pictures
    assert "last 2 minutes: down in 1" in pictures
