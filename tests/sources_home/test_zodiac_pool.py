"""ZodiacPool against a simulated cloud that checks keys and signatures."""

import contextlib
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    NoData,
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
)
from pollect_sources_home.zodiac_pool.client import expiry_of
from pollect_sources_home.zodiac_pool.robots import parse_robot, robot_samples
from pollect_sources_home.zodiac_pool.source import ZodiacPoolSource
from tests.simulators.zodiac import (
    LIST,
    LOGIN,
    OLD_LIST,
    PASSWORD,
    REFRESH,
    USER,
    VR,
    Zodiac,
    json_web_token,
    shadow,
)
from tests.sources_network.driver import series_of

NOW = 1_700_000_000.0
RUNNING = {
    'state{device_serial="JT1"}': 1,
    'program_cycle{device_serial="JT1"}': 1,
    'error_code{device_serial="JT1"}': 0,
    # 90 minutes and 30 that were added, 30 of them gone
    'remaining_time{device_serial="JT1"}': 5400,
}


class Pool:
    """A source, its clock, and the cloud it reads."""

    def __init__(self, cloud: Zodiac, folder: Path, clock: FakeClock, **more: Any) -> None:
        self.clock = clock
        section = {**cloud.options, "user": USER, "password": PASSWORD, **more}
        self.source: Any = build_source(
            {key: value for key, value in section.items() if value is not None},
            ZodiacPoolSource,
            clock=clock,
            state_dir=folder,
            config_dir=folder,
        )
        self.running = Running(self.source)

    def series(self) -> dict[str, float]:
        return series_of(self.running.probe())

    def reason(self, kind: type[ProbeError] = ProbeError) -> str:
        with pytest.raises(kind) as caught:
            self.running.probe()
        return str(caught.value)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time=NOW)


@pytest.fixture
def cloud(clock) -> Iterator[Zodiac]:
    with Zodiac(clock=clock.time) as server:
        yield server


@pytest.fixture
def pool_of(cloud, tmp_path, clock) -> Iterator[Callable[..., Pool]]:
    started: list[Pool] = []

    def build(**more: Any) -> Pool:
        started.append(Pool(cloud, tmp_path, clock, **more))
        return started[-1]

    yield build
    for pool in started:
        pool.running.close()


def paths(cloud: Zodiac) -> list[str]:
    return [request.path for request in cloud.requests]


def test_exposition(golden, pool_of) -> None:
    pool = pool_of(details=True)
    golden("ZodiacPool.txt", format_samples(pool.source, pool.running.probe()))


def test_the_four_values_of_1x(pool_of) -> None:
    assert pool_of().series() == RUNNING


def test_one_request_per_robot_every_30_seconds(pool_of, cloud) -> None:
    pool = pool_of()
    for _ in range(6 * 30):
        pool.series()
        pool.clock.advance(10)
    assert paths(cloud).count("/devices/v2/JT1/shadow") == 60
    assert paths(cloud).count(LIST) == 1
    assert cloud.logins == 1


def test_a_day_needs_one_login_and_a_refresh_an_hour(pool_of, cloud, tmp_path) -> None:
    pool = pool_of()
    for _ in range(24 * 60):
        pool.series()
        pool.clock.advance(60)
    assert cloud.logins == 1
    assert cloud.refreshes == pytest.approx(24, abs=1)
    kept = json.loads((tmp_path / "zodiac-token.json").read_text())
    assert kept["userPoolOAuth"]["IdToken"] == cloud.token
    assert kept["userPoolOAuth"]["RefreshToken"] == "refresh"
    assert stat.S_IMODE((tmp_path / "zodiac-token.json").stat().st_mode) == 0o600
    assert not {"address", "phone", "session_id"} & kept.keys()


def test_a_failed_refresh_is_followed_by_a_login(pool_of, cloud) -> None:
    pool = pool_of()
    pool.series()
    cloud.accepts_refresh = False
    pool.clock.advance(3600)
    assert pool.series()['state{device_serial="JT1"}'] == 1
    assert (cloud.logins, cloud.refreshes) == (2, 1)


def test_a_refused_password_is_tried_once_in_15_minutes(pool_of, cloud) -> None:
    pool = pool_of(password="wrong-secret")
    for _ in range(6 * 31):
        reason = pool.reason(AuthenticationFailed)
        assert "user or password are refused" in reason
        assert "wrong-secret" not in reason
        assert USER not in reason
        pool.clock.advance(10)
    assert cloud.logins == 3
    assert set(paths(cloud)) == {LOGIN}


def test_a_cloud_that_is_away_at_the_start_is_found_later(pool_of, cloud) -> None:
    cloud.instead[LOGIN] = HttpResponse("<html>", status=503)
    pool = pool_of()
    assert "status 503" in pool.reason(TargetUnavailable)
    del cloud.instead[LOGIN]
    pool.clock.advance(30)
    assert pool.series() == RUNNING | {'remaining_time{device_serial="JT1"}': 5370}


def test_a_token_that_ends_before_its_time_is_renewed_once(pool_of, cloud) -> None:
    pool = pool_of()
    pool.series()
    cloud.ends_at = 0
    pool.clock.advance(30)
    pool.series()
    assert (cloud.logins, cloud.refreshes) == (1, 1)
    cloud.life_seconds = -1  # every new one is refused as well
    cloud.ends_at = 0
    pool.clock.advance(30)
    reason = pool.reason(AuthenticationFailed)
    assert reason == "ZodiacPool: a new token was refused as well: Unauthorized"
    calls = len(cloud.requests)
    for _ in range(80):
        pool.clock.advance(10)
        pool.reason(AuthenticationFailed)
    assert len(cloud.requests) == calls


def test_the_file_of_1x_is_used_where_it_lies(pool_of, cloud, tmp_path) -> None:
    cloud.token = json_web_token(exp=NOW + 1800, name="Übergrößenträger ÿ>?")
    cloud.ends_at = NOW + 1800
    left = {
        "id": 4711,
        "email": USER,
        "address": "Poolweg 1",
        "userPoolOAuth": {
            "IdToken": cloud.token,
            "RefreshToken": "refresh",
            "ExpiresIn": 3600,
            "AccessToken": "",
        },
    }
    file = tmp_path / "zodiac-token.json"
    file.write_text(json.dumps(left))
    file.chmod(0o644)
    pool = pool_of()
    assert pool.series() == RUNNING
    assert (cloud.logins, cloud.refreshes) == (0, 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    pool.clock.advance(1800)
    pool.series()
    assert (cloud.logins, cloud.refreshes) == (0, 1)
    assert "Poolweg" not in file.read_text()


def test_a_token_of_another_account_is_not_used(pool_of, cloud, tmp_path) -> None:
    pool = {"IdToken": "somebody", "RefreshToken": "refresh"}
    data = {"id": 5, "email": "other@example.org", "userPoolOAuth": pool, "expires_at": NOW + 9999}
    (tmp_path / "zodiac-token.json").write_text(json.dumps(data))
    assert pool_of().series() == RUNNING
    assert (cloud.logins, cloud.refreshes) == (1, 0)


def test_two_accounts_keep_their_tokens_apart(pool_of, cloud, tmp_path) -> None:
    cloud.others["second@example.org"] = "pool"
    first = pool_of(name="a")
    second = pool_of(name="b", user="second@example.org", password="pool")
    for _ in range(3):
        first.series()
        second.series()
        first.clock.advance(30)
    assert cloud.logins == 2
    names = sorted(file.name for file in tmp_path.glob("*.json"))
    assert len(names) == 2
    assert names[1] == "zodiac-token.json"
    assert "second" not in " ".join(names)


def test_a_file_that_the_config_names_is_taken_over_by_the_account(
    pool_of, cloud, tmp_path
) -> None:
    pool = {"IdToken": "somebody", "RefreshToken": "refresh"}
    data = {"id": 5, "email": "other@example.org", "userPoolOAuth": pool, "expires_at": NOW + 9999}
    (tmp_path / "mine.json").write_text(json.dumps(data))
    assert pool_of(tokenFile="mine.json").series() == RUNNING
    assert json.loads((tmp_path / "mine.json").read_text())["email"] == USER


def test_without_a_password_the_token_of_a_sign_in_serves(pool_of, cloud, tmp_path) -> None:
    pool = pool_of(user=None, password=None)
    assert "run 'pollect auth ZodiacPool" in pool.reason(AuthenticationFailed)
    assert cloud.requests == []
    tokens = cloud._tokens(refresh=True)
    (tmp_path / "zodiac-token.json").write_text(json.dumps(tokens))
    assert pool.series() == RUNNING


@pytest.mark.parametrize("options", [{"user": None}, {"password": None}])
def test_user_and_password_belong_together(options, pool_of) -> None:
    with pytest.raises(ConfigError):
        pool_of(**options)


def test_the_older_list_and_states_are_read_where_the_newer_are_gone(pool_of, cloud) -> None:
    cloud.is_old = True
    pool = pool_of()
    for _ in range(3):
        pool.series()
        pool.clock.advance(30)
    assert paths(cloud) == [
        *(LOGIN, LIST, OLD_LIST, "/devices/v2/JT1/shadow"),
        *["/devices/v1/JT1/shadow"] * 3,
    ]


@pytest.mark.parametrize(
    ("path", "answer", "kind", "words"),
    [
        (LOGIN, HttpResponse({"userPoolOAuth": None}), BadResponse, "userPoolOAuth"),
        (LOGIN, HttpResponse({"userPoolOAuth": {"IdToken": 5}}), BadResponse, "IdToken"),
        (LOGIN, HttpResponse('{"IdToken": "s3cret'), BadResponse, "a JSON object with a token"),
        (LIST, HttpResponse({"message": "x"}), BadResponse, "expected a list of devices"),
        (LIST, HttpResponse("<html>", status=502), TargetUnavailable, "status 502"),
        (LIST, HttpResponse("", status=418), BadResponse, "status 418"),
        ("/devices/v2/JT1/shadow", HttpResponse([]), BadResponse, "expected the state of JT1"),
        ("/devices/v2/JT1/shadow", HttpResponse({"state": []}), BadResponse, "expected the state"),
        ("/devices/v2/JT1/shadow", Misbehaviour.HANG_UP, ProbeError, ""),
        ("/devices/v2/JT1/shadow", HttpResponse("", status=404), BadResponse, "status 404"),
        (
            "/devices/v2/JT1/shadow",
            HttpResponse({"message": "slow down"}, status=429, headers={"Retry-After": "60"}),
            TargetUnavailable,
            "refuses calls of this account until",
        ),
    ],
)
def test_strange_answers_are_told_apart(path, answer, kind, words, pool_of, cloud) -> None:
    cloud.instead[path] = answer
    reason = pool_of().reason(kind)
    assert words in reason
    assert "s3cret" not in reason


def test_a_block_is_obeyed(pool_of, cloud) -> None:
    pool = pool_of()
    pool.series()
    path = "/devices/v2/JT1/shadow"
    cloud.instead[path] = HttpResponse("", status=429, headers={"Retry-After": "600"})
    pool.clock.advance(30)
    pool.reason(TargetUnavailable)
    del cloud.instead[path]
    calls = len(cloud.requests)
    for _ in range(59):
        pool.clock.advance(10)
        pool.reason(TargetUnavailable)
    assert len(cloud.requests) == calls
    pool.clock.advance(30)
    assert pool.series()['state{device_serial="JT1"}'] == 1


def test_one_robot_does_not_hide_the_others(pool_of, cloud, caplog) -> None:
    cloud.devices = {
        "A": ("vr", shadow(None)),
        "B": ("vortrax", shadow({"state": None, "prCyc": 99, "durations": None})),
        "C": ("vr", []),
        "D": ("exo", shadow(VR)),
        "E": ("i2d_robot", shadow(VR)),
        "F": ("cyclonext", shadow({"mode": 0, "cycle": 3, "errors": {"code": 7}}, "robot.1")),
    }
    pool = pool_of()
    for _ in range(3):
        assert pool.series() == {
            'program_cycle{device_serial="B"}': 99,
            'state{device_serial="F"}': 0,
            'program_cycle{device_serial="F"}': 3,
            'error_code{device_serial="F"}': 7,
            'remaining_time{device_serial="F"}': -1,
        }
        pool.clock.advance(30)
    assert "C: ZodiacPool: expected the state of C" in str(pool.source.troubles)
    assert caplog.text.count("device D of type exo is not read") == 1
    assert caplog.text.count("device E of type i2d_robot is not read") == 1
    assert not [path for path in paths(cloud) if "/D/" in path or "/E/" in path]


def test_a_robot_that_the_account_may_not_see_costs_no_new_token_each_time(pool_of, cloud) -> None:
    forbidden = HttpResponse({"message": "Forbidden"}, status=403)
    cloud.devices |= {"JT2": ("vr", forbidden)}
    pool = pool_of()
    for _ in range(30):
        assert pool.series().keys() == RUNNING.keys()
        assert "JT2: ZodiacPool: a new token was refused as well" in str(pool.source.troubles)
        pool.clock.advance(30)
    assert (cloud.logins, cloud.refreshes) == (1, 1)
    cloud.devices["JT2"] = ("vr", shadow(VR))
    assert 'state{device_serial="JT2"}' in pool.series()
    assert not pool.source.troubles


def test_values_that_cannot_be_read_are_named(pool_of, cloud) -> None:
    robot = {**VR, "state": "running", "stepper": [], "sensors": 7, "durations": {"quickTim": "x"}}
    cloud.devices["JT1"] = ("vr", shadow(robot))
    pool = pool_of(details=True)
    found = pool.series()
    assert found['program_cycle{device_serial="JT1"}'] == 1
    assert 'state{device_serial="JT1"}' not in found
    problems = str(pool.source.troubles)
    assert "values of JT1: equipment.robot.sensors: expected an object, got 7" in problems
    assert "equipment.robot.state: expected a number, got 'running'" in problems
    assert problems.endswith("and 1 more")
    cloud.devices["JT1"] = ("vr", shadow(VR))
    pool.clock.advance(30)
    pool.series()
    assert not pool.source.troubles


@pytest.mark.parametrize(
    ("robot", "kind", "problem"),
    [
        ({"main": {"state": 1, "mode": "wall"}}, "cyclobat", "robot.main.mode"),
        ({"main": []}, "cyclobat", "robot.main: expected an object"),
        ({"main": {"mode": 1}, "cycles": {"floorTim": 90}}, "cyclobat", "robot.cycles.floorTim"),
        ({"battery": {"userChargePerc": True}}, "cyclobat", "robot.battery.userChargePerc"),
        ({"mode": 10**400}, "cyclonext", "robot.1.mode: expected a number"),
        ({"errors": {"code": "E7"}}, "cyclonext", "robot.1.errors.code"),
        ({"prCyc": 1, "durations": [45, "90"]}, "vr", "robot.durations[1]: expected a number"),
    ],
)
def test_every_kind_of_robot_names_what_cannot_be_read(robot, kind, problem) -> None:
    problems: list[str] = []
    place = "robot.1" if kind == "cyclonext" else "robot"
    parse_robot(shadow(robot, place)["state"]["reported"], kind, problems)
    assert len(problems) == 1
    assert f"equipment.{problem}" in problems[0]


def test_robots_that_report_nothing_are_no_data(pool_of, cloud) -> None:
    cloud.devices["JT1"] = ("vr", shadow(None))
    with pytest.raises(NoData, match="no robot reports its state"):
        pool_of().running.probe()


@pytest.mark.parametrize("strange", [[], {}, None, 5, "ü\ud800"])
def test_strange_types_ids_and_serial_numbers_cost_only_themselves(strange, pool_of, cloud) -> None:
    good = {"serial_number": "JT1", "device_type": "vr"}
    odd = [{"serial_number": "JT2", "device_type": strange}, {"serial_number": strange}]
    cloud.instead[LIST] = [*odd, good]
    pool = pool_of()
    assert pool.series() == RUNNING
    assert "list of devices: expected a device with a serial" in str(pool.source.troubles)


@pytest.mark.parametrize("lifetime", [10**400, "9" * 500, float("nan"), [], "soon"])
@pytest.mark.parametrize("identity", ["ü\ud800", [], 10**400])
def test_a_strange_reply_to_a_login_is_no_bug(lifetime, identity, pool_of, cloud) -> None:
    token = {"IdToken": "a.b.c", "ExpiresIn": lifetime, "RefreshToken": "refresh"}
    cloud.instead[LOGIN] = {"id": identity, "userPoolOAuth": token}
    with contextlib.suppress(ProbeError):
        pool_of().running.probe()


def test_a_device_without_a_serial_number_is_named(pool_of, cloud) -> None:
    pool = pool_of()
    listed = [{"serial_number": "JT1", "device_type": "vr"}, {"serial_number": 7}, "JT3"]
    cloud.instead[LIST] = listed
    assert pool.series().keys() == RUNNING.keys()
    problems = "list of devices: expected a device with a serial number, got 7; expected"
    assert problems in str(pool.source.troubles)


def test_chosen_robots_only_and_one_that_is_not_there_is_a_trouble(pool_of, cloud) -> None:
    cloud.devices |= {"JT2": ("vr", shadow(VR))}
    pool = pool_of(devices=["JT1", "JT9"])
    for _ in range(2):
        assert pool.series().keys() == RUNNING.keys()
        assert "JT9: the account has no such device" in str(pool.source.troubles)
        pool.clock.advance(30)


def test_an_account_without_robots_has_nothing_to_report(pool_of, cloud) -> None:
    cloud.devices = {"D": ("exo", shadow(VR))}
    pool = pool_of()
    for _ in range(3):
        with pytest.raises(NoData, match="no robot"):
            pool.running.probe()
    assert paths(cloud).count(LIST) == 1


# States


def values_of(robot: dict[str, Any], kind: str = "vr") -> dict[str, float]:
    place = "robot.1" if kind == "cyclonext" else "robot"
    parsed = parse_robot(shadow(robot, place)["state"]["reported"], kind, [])
    assert parsed is not None
    samples = robot_samples(parsed, "X", NOW)
    return {str(sample.metric.name): sample.value for sample in samples}


NAMES = {"waterTim": 45, "quickTim": 90, "smartTim": 120, "deepTim": 150, "customTim": 75}
OTHER_NAMES = {
    "wallTim": 45,
    "floorTim": 90,
    "smartTim": 120,
    "floorWallsTim": 150,
    "customTim": 75,
}


@pytest.mark.parametrize(("cycle", "minutes"), [(0, 45), (1, 90), (2, 120), (3, 150), (4, 75)])
@pytest.mark.parametrize(
    "durations", [NAMES, OTHER_NAMES | {"customTim": 75}, [45, 90, 120, 150, 75]]
)
def test_the_duration_of_a_cycle_is_found_by_name(cycle, minutes, durations) -> None:
    robot = {"state": 1, "prCyc": cycle, "cycleStartTime": NOW - 600, "durations": durations}
    assert values_of(robot)["remaining_time"] == (minutes - 10) * 60


def test_the_first_smart_cycle_has_its_own_duration() -> None:
    robot = {"state": 1, "prCyc": 2, "cycleStartTime": NOW, "firstSmrtFlag": 1}
    durations = {"smartTim": 120, "firstSmartTim": 150}
    assert values_of({**robot, "durations": durations})["remaining_time"] == 150 * 60
    assert values_of({**robot, "durations": {"smartTim": 120}})["remaining_time"] == 120 * 60
    off = {**robot, "durations": durations, "firstSmrtFlag": 0}
    assert values_of(off)["remaining_time"] == 120 * 60


@pytest.mark.parametrize(
    ("change", "remaining"),
    [
        ({}, 5400),
        ({"state": 0}, -1),
        ({"state": 3}, 5400),
        ({"cycleStartTime": NOW - 531_000}, 0),
        ({"cycleStartTime": 0}, -1),
        ({"cycleStartTime": 1000}, -1),
        ({"cycleStartTime": 946_684_900}, -1),
        ({"cycleStartTime": NOW + 1e6}, -1),
        ({"cycleStartTime": None}, -1),
        ({"prCyc": 99}, None),
        ({"prCyc": None}, None),
        ({"prCyc": "1"}, None),
        ({"durations": None}, None),
        ({"durations": {"quickTim": None}}, None),
        ({"durations": [1]}, None),
        ({"stepper": None}, 3600),
        ({"state": None}, None),
    ],
)
def test_the_remaining_time_is_never_nonsense(change, remaining) -> None:
    assert values_of({**VR, **change}).get("remaining_time") == remaining


def test_an_error_is_the_code_else_the_state_of_errors() -> None:
    assert values_of({"errorCode": 4, "errorState": 2})["error_code"] == 4
    assert values_of({"errorState": 2})["error_code"] == 2
    assert "error_code" not in values_of({"errorState": True, "state": 1})


def test_the_recorded_robots(recording) -> None:
    vr = json.loads(recording("zodiac_pool/vr_shadow.json"))
    robot = vr["state"]["reported"]["equipment"]["robot"]
    assert values_of(robot) == {
        "state": 1,
        "program_cycle": 1,
        "error_code": 0,
        "remaining_time": -1,  # its cycle started in 1970
    }
    robot["cycleStartTime"] = NOW
    assert values_of(robot)["remaining_time"] == (90 + 30) * 60
    cyclobat = json.loads(recording("zodiac_pool/cyclobat_shadow.json"))
    robot = cyclobat["state"]["reported"]["equipment"]["robot"]
    robot["main"]["cycleStartTime"] = NOW
    assert values_of(robot, "cyclobat") == {
        "state": 1,
        "program_cycle": 0,
        "error_code": 0,
        "remaining_time": 3600,
    }
    message = json.loads(recording("zodiac_pool/cyclonext_authorization.json"))
    reported = message["payload"]["robot"]["state"]["reported"]
    assert values_of(reported["equipment"]["robot.1"], "cyclonext") == {
        "state": 0,
        "program_cycle": 3,
        "error_code": 0,
        "remaining_time": -1,
    }
    exo = json.loads(recording("zodiac_pool/exo_shadow.json"))["state"]["reported"]
    for kind in ("vr", "vortrax", "cyclonext", "cyclobat"):
        assert parse_robot(exo, kind, []) is None


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (json_web_token(exp=NOW, name="ÿ>?~"), NOW),
        (json_web_token(exp=NOW, name="ÿ>?~a"), NOW),
        (json_web_token(exp=NOW, name="ÿ>?~ab"), NOW),
        (json_web_token(exp="soon"), 0),
        (json_web_token(exp=1e300), 0),
        (json_web_token(), 0),
        ("a.b.c", 0),
        ("text", 0),
        ("a..c", 0),
    ],
)
def test_the_expiry_in_a_token_is_read_whatever_is_in_it(token, expiry) -> None:
    assert expiry_of(token) == expiry


def test_refresh_path_is_the_apps(pool_of, cloud) -> None:
    pool = pool_of()
    pool.series()
    pool.clock.advance(3600)
    pool.series()
    assert REFRESH in paths(cloud)
