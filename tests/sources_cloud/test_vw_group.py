"""MMI and VwGroup against both simulated hosts, and the parser against real deliveries."""

import json
import logging
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    NoData,
    ProbeError,
    Secret,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
)
from pollect_sources_cloud.vw_group.brands import BRANDS
from pollect_sources_cloud.vw_group.dataset import parse_delivery, unpack
from pollect_sources_cloud.vw_group.pages import parse_form
from pollect_sources_cloud.vw_group.source import MMISource, VwGroupSource
from tests.simulators.vw_group import (
    DIESEL,
    PASSWORD,
    SECOND_VIN,
    USER,
    VIN,
    VwGroup,
    as_zip,
    delivery,
)
from tests.sources_cloud.recordings import recording
from tests.sources_network.driver import series_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
QUARTER = 900.0
DELIVERED = delivery(stamp="2026-11-22T11:50:00.000Z", **DIESEL)


class World:
    def __init__(self, folder: Path, group: VwGroup, clock: FakeClock) -> None:
        self.folder = folder
        self.group = group
        self.clock = clock

    def source(self, kind: type[MMISource] = MMISource, **options: Any) -> MMISource:
        section = {"user": USER, "password": PASSWORD, **self.group.options, **options}
        section = {name: value for name, value in section.items() if value is not None}
        source = build_source(
            section,
            kind,
            clock=self.clock,
            config_dir=self.folder,
            state_dir=self.folder / "state",
            collection="car",
        )
        assert isinstance(source, MMISource)
        return source

    def series(self, kind: type[MMISource] = MMISource, **options: Any) -> dict[str, float]:
        with Running(self.source(kind, **options)) as running:
            return series_of(running.probe())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with VwGroup() as group:
        yield World(tmp_path, group, FakeClock(time=NOW))


def test_values_of_1x_by_their_names_and_the_rest_with_details(world, golden) -> None:
    world.group.deliver(DELIVERED)
    with Running(world.source()) as running:
        assert series_of(running.probe()) == {
            "kilometers": 54321,
            "temp.outsite": 8.05,
            "tankLevel": 63,
            "oilLevelPercent": 75,
            "range.adblue": 8000,
            "range.total": 520,
        }
    source = world.source(details=True)
    with Running(source) as running:
        golden("mmi.txt", format_samples(source, running.probe()))


def test_every_car_of_an_account_has_its_label(world) -> None:
    world.group.cars[SECOND_VIN] = []
    world.group.deliver(DELIVERED)
    world.group.deliver(delivery(SECOND_VIN, mileage__value="7"), SECOND_VIN)
    series = world.series(VwGroupSource, brand="audi")
    assert series[f'kilometers{{vin="{VIN}"}}'] == 54321
    assert series[f'kilometers{{vin="{SECOND_VIN}"}}'] == 7
    one = world.series(VwGroupSource, brand="Audi", vin=SECOND_VIN)
    assert one == {f'kilometers{{vin="{SECOND_VIN}"}}': 7}


def test_empty_number_is_none(world) -> None:
    """The sample config of 1.x has it."""
    world.group.deliver(DELIVERED)
    assert world.series(vin="")["kilometers"] == 54321


def test_mmi_of_an_account_with_several_cars_wants_to_know_which(world) -> None:
    world.group.cars[SECOND_VIN] = []
    world.group.deliver(DELIVERED)
    with pytest.raises(ProbeError, match=f"set vin to one of {VIN}, {SECOND_VIN}"):
        world.series()
    world.clock.advance(QUARTER)
    assert world.series(vin=VIN.lower())["kilometers"] == 54321
    world.clock.advance(QUARTER)
    with pytest.raises(ProbeError, match=f"not a car of this account, which has {VIN}"):
        world.series(vin="X" * 17)


@pytest.mark.parametrize("brand", BRANDS)
def test_every_brand_signs_in_as_itself(world, brand) -> None:
    world.group.deliver(DELIVERED)
    assert world.series(VwGroupSource, brand=brand)
    assert world.group.sign_ins == 1


def test_country_and_language_go_along(world) -> None:
    world.group.deliver(DELIVERED)
    world.series(country="AT", language="de")
    first = world.group.identity.requests[0]
    assert first.query["state"] == "at__de__AUDI"
    languages = {request.headers["Accept-Language"] for request in world.group.portal.requests}
    assert languages == {"de-AT"}


def test_the_portal_is_asked_once_in_a_quarter_of_an_hour_whatever_the_tick(world) -> None:
    world.group.deliver(DELIVERED)
    with Running(world.source()) as running:
        for _ in range(5):
            assert series_of(running.probe())["kilometers"] == 54321
            world.clock.advance(60)
        assert world.group.data_requests() == ["vehicles", "partial", "list", "download"]
    assert world.series()["kilometers"] == 54321  # a restart asks for nothing sooner
    assert len(world.group.data_requests()) == 4
    with Running(world.source()) as running:
        running.probe()
        world.clock.advance(10 * 60)
        running.probe()
        assert world.group.data_requests()[4:] == ["vehicles", "partial", "list"]
        world.group.deliver(delivery(stamp="2026-11-22T12:14:00Z", mileage="54330"))
        world.clock.advance(QUARTER)
        assert series_of(running.probe())["kilometers"] == 54330
        assert world.group.data_requests()[7:] == ["list", "download"]
    assert world.group.sign_ins == 1


def test_delivery_without_a_newer_time_is_no_new_measurement(world) -> None:
    world.group.deliver(DELIVERED)
    with Running(world.source(details=True)) as running:
        assert series_of(running.probe())["data_age"] == 600
        world.group.deliver(delivery(stamp="2026-11-22T11:50:00Z", mileage="1"))
        world.clock.advance(QUARTER)
        series = series_of(running.probe())
        assert (series["kilometers"], series["data_age"]) == (54321, 1500)
        world.clock.advance(QUARTER)
        running.probe()
        assert world.group.data_requests().count("download") == 2


def test_a_car_whose_clock_was_wrong_once_is_read_again(world) -> None:
    """A time to come, in a file of an earlier version, made every later delivery look old."""
    world.group.deliver(DELIVERED)
    source = world.source()
    with Running(source) as running:
        running.probe()
        deliveries = source._deliveries
        (vin,) = deliveries.cars
        car = deliveries.cars[vin]
        deliveries.cars[vin] = msgspec.structs.replace(car, time=NOW + 30 * 365 * 86_400)
        world.group.deliver(delivery(stamp="2026-11-22T12:10:00Z", mileage="54333"))
        world.clock.advance(QUARTER)
        assert series_of(running.probe())["kilometers"] == 54333


def test_values_of_a_delivery_that_cannot_be_read_are_a_trouble(world) -> None:
    world.group.deliver(delivery(stamp="2026-11-22T11:50:00Z", mileage="much", scr_range="5"))
    source = world.source()
    with Running(source) as running:
        assert series_of(running.probe()) == {"range.adblue": 5}
        assert "mileage: expected a number, got 'much'" in str(source.troubles)


def test_newest_file_with_content_counts_in_either_form_of_the_list(world) -> None:
    world.group.wraps_lists = True
    world.group.deliver(delivery(mileage="1"))
    world.group.deliver(DELIVERED)
    world.group.deliver(b"", name="z_no_content_found.zip")
    assert world.series()["kilometers"] == 54321


def test_sign_in_is_kept_for_the_owner_only_and_used_again(world) -> None:
    world.group.deliver(DELIVERED)
    world.series()
    file = world.folder / "state" / "mmi_token.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["user"] == USER
    assert PASSWORD not in file.read_text()
    world.clock.advance(QUARTER)
    world.series()
    assert world.group.sign_ins == 1


def test_session_that_is_over_is_renewed_once(world) -> None:
    world.group.deliver(DELIVERED)
    with Running(world.source()) as running:
        running.probe()
        world.group.sessions.clear()
        world.clock.advance(QUARTER)
        running.probe()
        assert world.group.sign_ins == 2
        world.group.instead["/list"] = HttpResponse({}, 403)
        world.clock.advance(QUARTER)
        with pytest.raises(AuthenticationFailed, match="refuses the session"):
            running.probe()
        assert world.group.sign_ins == 3


def test_marketing_question_is_passed_by(world) -> None:
    world.group.questions = ["marketing", "marketing"]
    world.group.deliver(DELIVERED)
    assert world.series()["kilometers"] == 54321


@pytest.mark.parametrize(
    ("question", "complaint"), [("terms", "terms and conditions"), ("other", "asked a question")]
)
def test_question_that_only_the_owner_can_answer_says_so(world, question, complaint) -> None:
    world.group.questions = [question]
    with pytest.raises(AuthenticationFailed, match=rf"{complaint}.*in a browser"):
        world.series()


@pytest.mark.parametrize("by_redirect", [False, True])
def test_wrong_password_is_reported_and_not_tried_until_the_account_is_locked(
    world, by_redirect
) -> None:
    world.group.refuses_by_redirect = by_redirect
    with Running(world.source(password="wrong")) as running:
        for _ in range(3):
            with pytest.raises(AuthenticationFailed, match="refuses the password") as caught:
                running.probe()
            assert "wrong" not in str(caught.value)
            world.clock.advance(280)
        asked = [request for request in world.group.identity.requests if request.method == "POST"]
        assert len(asked) == 2  # the address and the password, once


def test_unknown_user_is_reported_before_any_password_is_sent(world) -> None:
    with pytest.raises(AuthenticationFailed, match="does not know the user 'stranger@"):
        world.series(user="stranger@example.org")
    assert PASSWORD.encode() not in b"".join(r.body for r in world.group.identity.requests)


def test_password_goes_to_no_other_host(world) -> None:
    world.group.detour = "https://identity.example.org/signin"
    with pytest.raises(BadResponse, match=r"another host: https://identity\.example"):
        world.series()
    world.clock.advance(QUARTER)
    world.group.detour = f"{world.group.identity.url}.example.org/"
    with pytest.raises(BadResponse, match="another host"):
        world.series()


def test_form_that_leads_to_another_host_is_refused(world) -> None:
    form = parse_form(
        '<form action="//evil.example/x?q=1"><input name=_csrf value=1><input name=hmac value=2>'
        "<input name=relayState value=3></form>",
        "https://identity.vwgroup.io/a",
    )
    assert form.target == "https://evil.example/x"
    page = HttpResponse(
        '<form action="//evil.example/"><input name="_csrf" value="1">'
        '<input name="hmac" value="1"><input name="relayState" value="1"></form>'
    )
    world.group.identity.routes = {"*": page}
    with pytest.raises(BadResponse, match=r"another host: http://evil\.example"):
        world.series()


def test_redirects_without_end_are_given_up(world) -> None:
    world.group.detour = "/signin-service/v1/x/loop"
    loop = HttpResponse("", 302, {"Location": "/signin-service/v1/x/loop"})
    world.group.identity.routes = {"*": loop}
    with pytest.raises(BadResponse, match="more than 10 times"):
        world.series()
    assert len(world.group.identity.requests) == 11


PAGES = {
    "no form": HttpResponse("<html>We are busy"),
    "empty": HttpResponse(""),
    "broken model": HttpResponse("<script>templateModel: {'a' , csrf_token: 'x'"),
    "status": HttpResponse("<html>", 500),
    "hang up": Misbehaviour.HANG_UP,
    "rubbish": Misbehaviour.RUBBISH,
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_identity_server_that_shows_something_else_is_a_failure(world, page) -> None:
    world.group.identity.routes = {"*": page}
    with pytest.raises(ProbeError):
        world.series()


DATA = {
    "status": ("/list", HttpResponse("", 500), "status 500"),
    "no list": ("/list", HttpResponse({"x": 1}), "expected a list of files"),
    "no JSON": ("/vehicles", HttpResponse("<html>"), "expected JSON"),
    "no ZIP": ("/download", HttpResponse(b"PK no"), "expected a ZIP"),
    "no JSON inside": ("/download", HttpResponse(as_zip(b"{}", "a.txt")), "expected a JSON file"),
    "rubbish inside": ("/download", HttpResponse(as_zip(b"\x80{")), "expected a ZIP with JSON"),
    "no data inside": ("/download", HttpResponse(as_zip({"vin": VIN})), "list 'Data'"),
    "no cars": ("/vehicles", HttpResponse({"vehicles": []}), "no car in the portal"),
}


@pytest.mark.parametrize(("end", "answer", "complaint"), DATA.values(), ids=DATA)
def test_portal_that_answers_something_else_is_a_failure_and_is_asked_again_in_5_minutes(
    world, end, answer, complaint
) -> None:
    world.group.deliver(DELIVERED)
    world.group.instead[end] = answer
    with Running(world.source()) as running:
        for _ in range(3):
            with pytest.raises(ProbeError, match=complaint):
                running.probe()
            world.clock.advance(10)
        assert sum(path == end[1:] for path in world.group.data_requests()) == 1
        world.group.instead.clear()
        world.clock.advance(290)
        assert series_of(running.probe())["kilometers"] == 54321


def test_busy_portal_is_left_alone_as_long_as_it_says(world) -> None:
    world.group.deliver(DELIVERED)
    world.group.instead["/list"] = HttpResponse("", 429, {"Retry-After": "3600"})
    with Running(world.source()) as running:
        with pytest.raises(TargetUnavailable, match="until 13:00:00"):
            running.probe()
        asked = len(world.group.portal.requests)
        world.group.instead.clear()
        world.clock.advance(1800)
        with pytest.raises(TargetUnavailable):
            running.probe()
        assert len(world.group.portal.requests) == asked
        world.clock.advance(1800)
        running.probe()


def test_car_without_an_order_says_how_to_order(world) -> None:
    world.group.cars[VIN] = None
    with pytest.raises(ProbeError, match="order 'customised data', continuous, every 15 minutes"):
        world.series()


def test_car_without_a_delivery_yet_has_no_data(world) -> None:
    with pytest.raises(NoData, match="no delivery yet"):
        world.series()


def test_one_car_that_fails_costs_the_other_nothing(world, caplog) -> None:
    world.group.cars[SECOND_VIN] = None
    world.group.deliver(DELIVERED)
    with caplog.at_level(logging.WARNING):
        assert world.series(VwGroupSource, brand="audi") == {
            f'{name}{{vin="{VIN}"}}': value for name, value in world.series(vin=VIN).items()
        }
    assert f"{SECOND_VIN}: no data is ordered" in caplog.text.replace(
        f"{SECOND_VIN}: {SECOND_VIN}", SECOND_VIN
    )


def test_credentials_file_of_1x_is_read_again_when_it_is_needed(world) -> None:
    file = world.folder / "audi.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"user": USER, "pass": "wrong"}))
    world.group.deliver(DELIVERED)
    with Running(world.source(user=None, password=None, credentials="audi.json")) as running:
        with pytest.raises(AuthenticationFailed):
            running.probe()
        file.write_text(json.dumps({"user": USER, "pass": PASSWORD}))
        world.clock.advance(QUARTER)
        assert series_of(running.probe())["kilometers"] == 54321
        file.write_text("[]")
        world.clock.advance(QUARTER)
        with pytest.raises(ProbeError, match=r"audi\.json: expected JSON with 'user' and 'pass'"):
            running.probe()


class Dialogue:
    """An operator who answers."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)

    def ask(self, question: str, *, default: str = "") -> str:
        return self.answers.pop(0)

    def ask_secret(self, question: str) -> Secret:
        return Secret(self.answers.pop(0))


def test_sign_in_without_a_password_in_the_config(world) -> None:
    world.group.cars[SECOND_VIN] = None
    world.group.deliver(DELIVERED)
    options = {"user": None, "password": None, "vin": VIN}
    with pytest.raises(AuthenticationFailed, match="not signed in: run 'pollect auth MMI"):
        world.series(**options)
    source, dialogue = world.source(**options), Dialogue(USER, PASSWORD)
    source.sign_in(dialogue)
    source.close()
    assert dialogue.shown[0].startswith(f"{VIN}: {VIN}_0000.zip")
    assert dialogue.shown[1].startswith(f"{SECOND_VIN}: no data is ordered")
    assert "hush" not in "".join(dialogue.shown)
    assert world.series(**options)["kilometers"] == 54321


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"password": None}, "password: expected user and password"),
        ({"vin": "short"}, "vin: expected 17"),
        ({"interval": 60}, "interval"),
        ({"portal": "http://portal.example.org"}, "portal: expected https"),
        ({"identity": "ftp://x"}, "identity: expected a URL"),
        ({"country": "germany"}, "country"),
    ],
)
def test_mistakes_are_found_before_anything_runs(world, options, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        world.source(**options)


def test_brand_that_does_not_exist_is_refused_with_those_that_do(world) -> None:
    with pytest.raises(ConfigError, match="expected one of Audi, Volkswagen, Skoda, SEAT, Cupra"):
        world.source(VwGroupSource, brand="Trabant")


def values_of(**fields: str | None) -> dict[str, float]:
    return parse_delivery(unpack(delivery(**fields), "x"), "x", NOW).values


@pytest.mark.parametrize("nothing", [None, "", "null", "32766", "32767", "65535", "nan", "n/a"])
def test_what_stands_for_no_value_is_none_and_the_next_field_counts(nothing) -> None:
    assert values_of(mileage__value=nothing, mileage="5") == {"kilometers": 5}
    assert values_of(fuel_level_current_level=nothing, tank_current_level="9")["tankLevel"] == 9
    assert "range.adblue" not in values_of(scr_range=nothing)


@pytest.mark.parametrize("unit", ["miles", "DISTANCE_UNIT_MILES", "mi", "1"])
def test_miles_become_kilometres(unit) -> None:
    assert values_of(mileage__value="100", mileage__unit=unit)["kilometers"] == 160.9344
    assert values_of(mileage__value="100", mileage__unit="KM")["kilometers"] == 100


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"mileage": "12.345,6"}, "mileage: expected a number, got '12.345,6'"),
        ({"mileage": "1_000"}, "mileage: expected a number, got '1_000'"),
        ({"scr_range": "plenty"}, "scr_range: expected a number, got 'plenty'"),
        ({"locked": "ajar"}, "locked: expected one of true, locked, false, unlocked, got 'ajar'"),
        ({"outside_temperature": "0"}, "outside_temperature: expected tenths of K, got 0"),
    ],
)
def test_what_cannot_be_read_is_named_and_costs_only_itself(fields, problem) -> None:
    found = parse_delivery(unpack(delivery(tank_current_level="9", **fields), "x"), "x", NOW)
    assert found.values == {"tankLevel": 9}
    assert found.problems == (problem,)


def test_entries_that_are_no_fields_are_named() -> None:
    data = [None, {"value": "5"}, {"dataFieldName": "mileage", "value": "5"}]
    found = parse_delivery({"Data": data}, "x", NOW)
    assert found.values == {"kilometers": 5}
    assert found.problems[0] == "expected a field with a name, got None"
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("2026-11-22T11:50:00Z", NOW - 600),
        (str(int(NOW - 600)), NOW - 600),
        (str(int(NOW - 600) * 1000), NOW - 600),
        ("20261121", NOW - 1.5 * 86_400),
        ("2099-01-01T00:00:00Z", None),
        ("0", None),
        ("soon", None),
    ],
)
def test_times_are_read_in_every_form_unless_they_are_to_come(stamp, time) -> None:
    assert parse_delivery(unpack(delivery(stamp=stamp, mileage="5"), "x"), "x", NOW).time == time


def test_countdowns_change_their_sign_and_names_may_have_two_underscores() -> None:
    data = [
        {"dataFieldName": "maintenance_interval__time_until_inspection", "value": "-92"},
        {"dataFieldName": "maintenance_interval_time_until_oil_change", "value": "3"},
        {"dataFieldName": "maintenance_interval_distance_until_inspection", "value": "0"},
    ]
    values = parse_delivery({"Data": data}, "x", NOW).values
    assert values == {
        "inspection_due_days": 92,
        "oil_service_due_days": -3,
        "inspection_due_km": 0,
    }
    assert str(values["inspection_due_km"]) == "0.0"


def test_ranges_of_a_hybrid_an_electric_car_and_one_that_gives_the_sum() -> None:
    both = {"cruising_range_primary_engine": "630", "cruising_range_secondary_engine": "51"}
    hybrid = values_of(fuel_level_current_level="100", **both)
    assert (hybrid["range.total"], hybrid["range.fuel"], hybrid["range.electric"]) == (681, 630, 51)
    electric = values_of(cruising_range_primary_engine="300")
    assert (electric["range.total"], electric["range.electric"]) == (300, 300)
    assert "range.fuel" not in electric
    assert values_of(cruising_range_combined="700", **both)["range.total"] == 700


@pytest.mark.parametrize(
    ("fields", "locked"),
    [
        ({"locked": "true"}, 1),
        ({"locked": "false"}, 0),
        ({"lock_state": "locked"}, 1),
        ({"lock_state": "unlocked"}, 0),
        ({"lock_state": "unsupported"}, None),
    ],
)
def test_locks(fields, locked) -> None:
    assert values_of(**fields).get("doors_locked") == locked


REAL = {
    "dotted_ev_full": {"kilometers": 10256, "soc": 72, "doors_locked": 1},
    "dotted_ev_no_mileage": {"soc": 80, "doors_locked": 1},
    "dotted_ev_charging_settings": {"kilometers": 116803, "soc": 69, "doors_locked": 1},
    "flat_phev_timestamped": {
        "kilometers": 41287,
        "temp.outsite": 23.95,
        "tankLevel": 100,
        "oilLevelPercent": 75,
        "range.total": 681,
        "soc": 88,
        "range.electric": 51,
        "range.fuel": 630,
        "inspection_due_km": 22400,
        "inspection_due_days": 92,
        "oil_service_due_km": 22400,
        "oil_service_due_days": 457,
        "doors_locked": 0,
    },
}


@pytest.mark.parametrize(("name", "values"), REAL.items(), ids=REAL)
def test_real_deliveries(name, values) -> None:
    found = parse_delivery(json.loads(recording(f"mmi/{name}.json")), name, NOW)
    assert found.values == values
    assert found.time is not None


def test_time_of_a_real_delivery_is_that_of_its_newest_value() -> None:
    phev = parse_delivery(json.loads(recording("mmi/flat_phev_timestamped.json")), "x", NOW)
    assert phev.time == datetime(2026, 7, 31, 10, 40, 28, tzinfo=UTC).timestamp()
    full = parse_delivery(json.loads(recording("mmi/dotted_ev_full.json")), "x", NOW)
    assert full.time == datetime(2026, 8, 13, 19, 16, 50, tzinfo=UTC).timestamp()


def test_every_field_that_is_read_stands_in_the_dictionary() -> None:
    from pollect_sources_cloud.vw_group import dataset

    names = {entry["name"] for entry in json.loads(recording("mmi/data_dictionary.json")).values()}
    known = {name.replace("__", "_") for name in names}
    read = [name for fields in dataset.PLAIN.values() for name in fields]
    for name in [*read, *dataset.COUNTDOWNS.values(), "mileage.value", "mileage", "mileage.unit"]:
        assert name in known, name
