"""SnmpGet against simulated agents: what it makes of values, and of agents that misbehave."""

import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pollect.api import BadResponse, ConfigError, MissingDependency, TargetUnavailable
from pollect.testing import FakeClock, build_source, serve_udp, wait_until
from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.get_config import SnmpGetConfig
from tests.simulators.snmp_agent import (
    COUNTER32,
    COUNTER64,
    GET,
    INTEGER,
    IP_ADDRESS,
    OCTETS,
    OID,
    OPAQUE,
    TICKS,
    UPTIME,
    SimulatedAgent,
    Tagged,
)
from tests.sources_network.driver import OpenSource, opened

IN_OCTETS = "1.3.6.1.2.1.2.2.1.10"
IF_NAME = "1.3.6.1.2.1.31.1.1.1.1"
UNKNOWN_TAG = 0x45
DAY_TICKS = 24 * 3600 * 100

PORTS: dict[str, Tagged] = {
    UPTIME: (TICKS, DAY_TICKS),
    **{f"{IN_OCTETS}.{port}": (COUNTER32, port * 1000) for port in range(1, 301)},
    **{f"{IF_NAME}.{port}": (OCTETS, f"port {port}".encode()) for port in range(1, 301)},
}


@pytest.fixture
def agent() -> Iterator[SimulatedAgent]:
    with SimulatedAgent(PORTS) as agent:
        yield agent


def section(agent: SimulatedAgent | str, *metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    host = agent if isinstance(agent, str) else agent.address
    return {"host": host, "snmpVersion": "2c", "metrics": list(metrics), "timeout": 2, **more}


def one(oid: str, **more: Any) -> dict[str, Any]:
    return {"name": "value", "oid": oid, **more}


def every_port(last: int = 3, **more: Any) -> dict[str, Any]:
    numbers = {"from": 1, "to": last, "label": "if"}
    return {"name": "octets", "oid": "iso.3.6.1.2.1.2.2.1.10.${if}", "range": numbers, **more}


def probe_once(agent: SimulatedAgent, *metrics: dict[str, Any], **more: Any) -> dict[str, float]:
    with opened(section(agent, *metrics, **more), SnmpGetSource) as source:
        return source.series()


@pytest.mark.parametrize(
    "oid",
    [
        f"{IN_OCTETS}.7",
        f".{IN_OCTETS}.7",
        "iso.3.6.1.2.1.2.2.1.10.7",
        ".iso.3.6.1.2.1.2.2.1.10.7",
        "IF-MIB::ifInOctets.7",
        "ifInOctets.7",
        "mib-2.2.2.1.10.7",
    ],
)
def test_every_way_to_write_an_oid_reads_the_same_object(agent: SimulatedAgent, oid: str) -> None:
    assert probe_once(agent, one(oid)) == {"value": 7000}


@pytest.mark.parametrize(
    ("tagged", "number"),
    [
        ((INTEGER, -5), -5),
        ((COUNTER32, 2**32 - 1), 2**32 - 1),
        ((COUNTER64, 2**64 - 1), 2**64 - 1),
        ((TICKS, 200), 200),
        ((OCTETS, b"1.71"), 1.71),
        ((OCTETS, b" 42\n"), 42),
        ((OPAQUE, b"\x9f\x78\x04\x3f\xc0\x00\x00"), 1.5),
        ((OPAQUE, b"\x9f\x79\x08\x3f\xf8" + bytes(6)), 1.5),
    ],
)
def test_numbers_of_all_types_become_values(
    agent: SimulatedAgent, tagged: Tagged, number: float
) -> None:
    agent.values["1.3.6.1.4.1.9.1"] = tagged
    assert probe_once(agent, one("1.3.6.1.4.1.9.1")) == {"value": number}


@pytest.mark.parametrize(
    "tagged",
    [
        (OCTETS, b"up"),
        (OCTETS, b"nan"),
        (OCTETS, b"1_000"),
        (OCTETS, b""),
        (OID, "1.3.6.1.4.1"),
        (IP_ADDRESS, "10.0.0.1"),
    ],
)
def test_what_is_no_number_is_left_out_and_named_once(
    agent: SimulatedAgent, tagged: Tagged, caplog: pytest.LogCaptureFixture
) -> None:
    agent.values["1.3.6.1.4.1.9.1"] = tagged
    metrics = (one("1.3.6.1.4.1.9.1"), one(f"{IN_OCTETS}.1", name="good"))
    with opened(section(agent, *metrics), SnmpGetSource) as source:
        assert [source.series(), source.series()] == [{"good": 1000}] * 2
    assert (
        len([r for r in caplog.records if "1.3.6.1.4.1.9.1: expected a number" in r.message]) == 1
    )


def test_an_object_that_has_a_number_again_is_no_trouble_any_more(agent: SimulatedAgent) -> None:
    agent.values[f"{IN_OCTETS}.2"] = (OCTETS, b"n/a")
    with opened(section(agent, every_port(3)), SnmpGetSource) as source:
        assert source.series() == {'octets{if="1"}': 1000, 'octets{if="3"}': 3000}
        assert source.source.troubles
        agent.values[f"{IN_OCTETS}.2"] = (COUNTER32, 2000)
        assert source.series()['octets{if="2"}'] == 2000
        assert not source.source.troubles


def test_samples_come_in_the_order_of_the_config_however_their_values_are_made(
    agent: SimulatedAgent,
) -> None:
    metrics = (
        every_port(2),
        one(f"{IN_OCTETS}.1", name="scaled", scale=0.5),
        one(f"{IN_OCTETS}.2", name="labelled", oidLabels={"port": f"{IF_NAME}.2"}),
        one(f"{IN_OCTETS}.3", name="plain"),
    )
    with opened(section(agent, *metrics), SnmpGetSource) as source:
        found = source.samples()
    assert [(sample.metric.name, sample.value, sample.label_values) for sample in found] == [
        ("octets", 1000, ("1",)),
        ("octets", 2000, ("2",)),
        ("scaled", 500, ()),
        ("labelled", 2000, ("port 2",)),
        ("plain", 3000, ()),
    ]


@pytest.mark.parametrize("labels", [{}, {"port": f"{IF_NAME}.2"}])
def test_a_counter_of_64_bits_loses_none_of_them(
    agent: SimulatedAgent, labels: dict[str, str]
) -> None:
    agent.values["1.3.6.1.4.1.9.1"] = (COUNTER64, 2**63 + 1)
    metric = one("1.3.6.1.4.1.9.1", oidLabels=labels)
    with opened(section(agent, metric), SnmpGetSource) as source:
        assert [sample.value for sample in source.samples()] == [2**63 + 1]


@pytest.mark.parametrize(
    ("tagged", "label"),
    [
        ((OCTETS, b"eth0"), "eth0"),
        ((OCTETS, "Büro".encode()), "Büro"),
        ((OCTETS, b"lan\0"), "lan"),
        ((OCTETS, b"two\r\nlines"), "two lines"),
        ((OCTETS, bytes.fromhex("001b21c0ffee")), "00:1b:21:c0:ff:ee"),
        ((OCTETS, b""), ""),
        ((INTEGER, 7), "7"),
        ((COUNTER64, 2**40), "1099511627776"),
        ((IP_ADDRESS, "10.0.0.1"), "10.0.0.1"),
        ((OID, "1.3.6.1.4.1"), "1.3.6.1.4.1"),
    ],
)
def test_labels_are_text_where_printable_and_hex_otherwise(
    agent: SimulatedAgent, tagged: Tagged, label: str
) -> None:
    agent.values["1.3.6.1.4.1.9.1"] = tagged
    metric = one(f"{IN_OCTETS}.1", oidLabels={"port": "1.3.6.1.4.1.9.1"})
    assert probe_once(agent, metric) == {f'value{{port="{label}"}}': 1000}


def test_a_label_that_does_not_exist_is_empty(agent: SimulatedAgent) -> None:
    metric = one(f"{IN_OCTETS}.1", oidLabels={"port": "1.3.6.1.4.1.9.1"})
    assert probe_once(agent, metric) == {'value{port=""}': 1000}


def test_a_range_fills_oids_and_labels_and_its_label_comes_first(agent: SimulatedAgent) -> None:
    metric = every_port(2, oidLabels={"port": "IF-MIB::ifName.${if}"})
    assert probe_once(agent, metric) == {
        'octets{if="1",port="port 1"}': 1000,
        'octets{if="2",port="port 2"}': 2000,
    }


def test_several_oids_are_added_up(agent: SimulatedAgent) -> None:
    metric = {"name": "sum", "oids": [f"{IN_OCTETS}.1", f".{IN_OCTETS}.2"]}
    assert probe_once(agent, metric) == {"sum": 3000}


def test_scale_offset_and_map_change_the_value(agent: SimulatedAgent) -> None:
    agent.values["1.3.6.1.4.1.9.1"] = (OCTETS, b"on battery")
    states = {"online": 0, "on battery": 1}
    assert probe_once(
        agent,
        one(f"{IN_OCTETS}.3", scale=0.1, offset=-100),
        one("1.3.6.1.4.1.9.1", name="state", map=states),
        one(f"{IN_OCTETS}.2", name="mapped", map={"2000": 5}),
    ) == {"value": 200, "state": 1, "mapped": 5}


def test_two_entries_may_share_a_name(agent: SimulatedAgent) -> None:
    assert probe_once(
        agent,
        one(f"{IN_OCTETS}.1", oidLabels={"port": f"{IF_NAME}.1"}),
        one(f"{IN_OCTETS}.2", oidLabels={"port": f"{IF_NAME}.2"}),
    ) == {'value{port="port 1"}': 1000, 'value{port="port 2"}': 2000}


def test_many_objects_are_read_in_requests_of_the_size_asked_for(agent: SimulatedAgent) -> None:
    assert len(probe_once(agent, every_port(300), maxOidsPerRequest=120)) == 300
    assert [len(oids) for _, oids in agent.requests] == [120, 120, 60]


def test_an_object_in_several_entries_is_asked_for_once(agent: SimulatedAgent) -> None:
    probe_once(agent, one(f"{IN_OCTETS}.1"), one(f"{IN_OCTETS}.1", name="again"))
    assert agent.requests == [(GET, [f"{IN_OCTETS}.1"])]


def test_details_add_uptime_and_response_time(agent: SimulatedAgent) -> None:
    values = probe_once(agent, one(f"{IN_OCTETS}.1"), details=True)
    assert values["sys_uptime_seconds"] == DAY_TICKS / 100
    assert 0 < values["response_ms"] < 10_000


def test_without_metrics_the_agent_tells_how_long_it_runs(agent: SimulatedAgent) -> None:
    assert probe_once(agent).keys() == {"sys_uptime_seconds", "response_ms"}


def test_the_port_may_stand_beside_the_host(agent: SimulatedAgent) -> None:
    config = {"host": agent.host, "port": agent.port, "snmpVersion": "2c"}
    with opened({**config, "metrics": [one(f"{IN_OCTETS}.7")]}, SnmpGetSource) as source:
        assert source.series() == {"value": 7000}


def test_agents_are_read_over_ipv6_as_well() -> None:
    with SimulatedAgent(PORTS, host="::1") as agent:
        assert probe_once(agent, one(f"{IN_OCTETS}.1")) == {"value": 1000}


def test_a_hash_that_1x_showed_as_privacy_protocol_is_taken_for_aes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    phrases = {"authPassPhrase": "authphrase", "privacyPassPhrase": "privphrase"}
    user = {"snmpVersion": 3, "username": "u", "privacyProtocol": "SHA", **phrases}
    source: Any = build_source(section("127.0.0.1", one(UPTIME), **user), SnmpGetSource)
    assert source._security.privacy_protocol == "AES"
    assert "taken for AES" in caplog.text


class Ticking:
    """A source with a rate, and the device it reads."""

    def __init__(self, agent: SimulatedAgent, source: OpenSource, clock: FakeClock) -> None:
        self.agent, self._source, self._clock = agent, source, clock

    def probe(self, value: int, *, tag: int = COUNTER32, seconds: float = 10.0) -> dict[str, float]:
        """Let time go by, set the counter of port 1, and probe."""
        self._clock.advance(seconds)
        uptime = self.agent.values[UPTIME][1] + int(seconds * 100)
        self.agent.values[UPTIME] = (TICKS, uptime % 2**32)
        self.agent.values[f"{IN_OCTETS}.1"] = (tag, value)
        return self._source.series()


@pytest.fixture
def ticking(agent: SimulatedAgent, request: pytest.FixtureRequest) -> Iterator[Ticking]:
    clock = FakeClock()
    metric = one(f"{IN_OCTETS}.1", mode="rate", **getattr(request, "param", {}))
    with opened(section(agent, metric), SnmpGetSource, clock=clock) as source:
        yield Ticking(agent, source, clock)


def test_a_rate_comes_with_the_second_probe(ticking: Ticking) -> None:
    assert ticking.probe(1000) == {}
    assert ticking.probe(1500) == {"value": 50}
    assert ticking.probe(1500) == {"value": 0}


def test_all_numbers_of_a_range_have_their_rate_at_the_second_probe(agent: SimulatedAgent) -> None:
    clock = FakeClock()
    with opened(section(agent, every_port(mode="rate")), SnmpGetSource, clock=clock) as source:
        assert source.series() == {}
        clock.advance(10)
        agent.values[UPTIME] = (TICKS, DAY_TICKS + 1000)
        assert len(source.series()) == 3


def test_a_32_bit_counter_that_wrapped_gives_the_true_rate(ticking: Ticking) -> None:
    ticking.probe(4294967290)
    assert ticking.probe(10) == {"value": 1.6}


@pytest.mark.parametrize("before", [1_000_000, 2**31 - 1])
def test_a_counter_that_was_reset_without_a_reboot_gives_no_rate(
    ticking: Ticking, before: int
) -> None:
    ticking.probe(before)
    assert ticking.probe(5) == {}
    assert ticking.probe(25) == {"value": 2}


@pytest.mark.parametrize("ticking", [{"counterBits": 32}], indirect=True)
def test_a_counter_of_32_bits_wraps_as_fast_as_a_gigabit_at_most(ticking: Ticking) -> None:
    ticking.probe(2_000_000_000)
    assert ticking.probe(5, seconds=10) == {}, "230 M/s"
    ticking.probe(2_000_000_000, seconds=60)
    assert ticking.probe(5, seconds=60) == {"value": (2**32 - 2_000_000_000 + 5) / 60}


def test_a_64_bit_counter_wraps_from_its_upper_half(ticking: Ticking) -> None:
    ticking.probe(2**64 - 2**12, tag=COUNTER64)
    assert ticking.probe(2**12, tag=COUNTER64) == {"value": pytest.approx(819.2, rel=1)}


def test_a_64_bit_counter_that_went_back_gives_no_rate(ticking: Ticking) -> None:
    ticking.probe(2**40, tag=COUNTER64)
    assert ticking.probe(10, tag=COUNTER64) == {}
    assert ticking.probe(20, tag=COUNTER64) == {"value": 1}


@pytest.mark.parametrize("ticking", [{"counterBits": 64}], indirect=True)
def test_a_small_counter_known_to_be_wide_never_wraps(ticking: Ticking) -> None:
    ticking.probe(1000, tag=COUNTER64)
    assert ticking.probe(10, tag=COUNTER64) == {}


@pytest.mark.parametrize("ticking", [{"counterBits": "none"}], indirect=True)
def test_a_value_that_may_fall_has_a_negative_rate(ticking: Ticking) -> None:
    ticking.probe(50, tag=INTEGER)
    assert ticking.probe(40, tag=INTEGER) == {"value": -1}


def test_a_restarted_device_gives_no_rate_for_that_interval(ticking: Ticking) -> None:
    ticking.probe(4000000000)
    ticking.agent.values[UPTIME] = (TICKS, 0)
    assert ticking.probe(10, seconds=10) == {}
    assert ticking.probe(110) == {"value": 10}


def test_without_the_check_for_reboots_the_uptime_is_not_read(agent: SimulatedAgent) -> None:
    metric = every_port(1, mode="rate")
    clock = FakeClock()
    config = section(agent, metric, rebootCheck=False)
    with opened(config, SnmpGetSource, clock=clock) as source:
        source.series()
        clock.advance(10)
        agent.values[UPTIME] = (TICKS, 0)
        assert source.series() == {'octets{if="1"}': 0}
    assert all(UPTIME not in oids for _, oids in agent.requests)


def test_two_probes_at_the_same_moment_give_no_rate(ticking: Ticking) -> None:
    ticking.probe(1000)
    assert ticking.probe(2000, seconds=0) == {}
    assert ticking.probe(2000) == {"value": 100}


def test_an_uptime_that_wrapped_after_497_days_is_no_restart(ticking: Ticking) -> None:
    ticking.agent.values[UPTIME] = (TICKS, 2**32 - 1500)
    ticking.probe(1000)
    assert ticking.probe(1100) == {"value": 10}


def test_a_restart_during_a_long_silence_is_seen(ticking: Ticking) -> None:
    ticking.agent.values[UPTIME] = (TICKS, 0)
    ticking.probe(4000000000, seconds=30)
    ticking.agent.values[UPTIME] = (TICKS, -10000)  # 500 s of 600 after the restart
    assert ticking.probe(10, seconds=600) == {}


def test_objects_that_do_not_exist_are_named_once_and_read_as_soon_as_they_do(
    agent: SimulatedAgent, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = (one(f"{IN_OCTETS}.1"), one("1.3.6.1.4.1.9.1", name="late"))
    with opened(section(agent, *metrics), SnmpGetSource) as source:
        assert [source.series(), source.series()] == [{"value": 1000}] * 2
        agent.values["1.3.6.1.4.1.9.1"] = (INTEGER, 3)
        assert source.series() == {"value": 1000, "late": 3}
    assert [len(oids) for _, oids in agent.requests] == [2, 2, 2]
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
        "the agent has no value for 1.3.6.1.4.1.9.1"
    ]


def test_version_1_survives_objects_that_do_not_exist(
    agent: SimulatedAgent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.values["1.3.6.1.2.1.31.1.1.1.6.1"] = (COUNTER64, 5)  # unknown to version 1
    late = one("1.3.6.1.4.1.9.1", name="late")
    metrics = [every_port(50), one("1.3.6.1.2.1.31.1.1.1.6.1"), late]
    clock = FakeClock()
    with opened(section(agent, *metrics, snmpVersion=1), SnmpGetSource, clock=clock) as source:
        assert len(source.series()) == 50
        agent.requests.clear()
        assert len(source.series()) == 50
        assert len(agent.requests) == 1
        agent.values["1.3.6.1.4.1.9.1"] = (INTEGER, 3)
        clock.advance(601)
        assert source.series()["late"] == 3
        agent.requests.clear()
        assert len(source.series()) == 51
        assert len(agent.requests) == 1
    assert len([r for r in caplog.records if "has no value for" in r.message]) == 1


@pytest.mark.parametrize("version", [1, "2c"])
def test_an_answer_too_big_for_the_agent_halves_the_requests(
    agent: SimulatedAgent, version: int | str
) -> None:
    agent.too_big_above = 30
    with opened(section(agent, every_port(100), snmpVersion=version), SnmpGetSource) as source:
        assert len(source.series()) == 100
        agent.requests.clear()
        assert len(source.series()) == 100
    assert [len(oids) for _, oids in agent.requests] == [25, 25, 25, 25]


def test_a_request_dropped_for_its_size_is_tried_with_half(agent: SimulatedAgent) -> None:
    agent.silent_above = 60
    with opened(section(agent, every_port(100), timeout=1, retries=0), SnmpGetSource) as source:
        assert len(source.series()) == 100
        agent.requests.clear()
        assert len(source.series()) == 100
    assert [len(oids) for _, oids in agent.requests] == [50, 50]


@pytest.mark.parametrize("version", [1, "2c"])
def test_no_object_at_all_is_a_bad_response(agent: SimulatedAgent, version: int | str) -> None:
    absent = {"name": "absent", "oid": "1.3.6.1.4.1.9.${n}"}
    numbers = {"from": 1, "to": 64, "label": "n"}
    config = section(agent, {**absent, "range": numbers}, snmpVersion=version)
    with opened(config, SnmpGetSource) as source:
        with pytest.raises(BadResponse, match="none of the 64 OIDs has a value"):
            source.series()
        agent.requests.clear()
        with pytest.raises(BadResponse):
            source.series()
        assert len(agent.requests) <= 2


def test_a_value_of_unknown_type_does_not_spoil_the_others(agent: SimulatedAgent) -> None:
    agent.values[f"{IN_OCTETS}.7"] = (UNKNOWN_TAG, b"abc")
    assert len(probe_once(agent, every_port(10))) == 9


def test_lost_datagrams_are_asked_for_again(agent: SimulatedAgent) -> None:
    agent.drop = 2
    assert probe_once(agent, one(f"{IN_OCTETS}.1"), timeout=0.5) == {"value": 1000}


def test_a_silent_agent_is_unavailable_and_then_tried_once_until_it_answers(
    agent: SimulatedAgent,
) -> None:
    config = section(agent, one(f"{IN_OCTETS}.1"), timeout=0.4)
    with opened(config, SnmpGetSource) as source:
        agent.drop = 1000
        with pytest.raises(TargetUnavailable, match=r"no answer within 0.4 s"):
            source.series()
        wait_until(lambda: len(agent.requests) == 3)
        with pytest.raises(TargetUnavailable):
            source.series()
        wait_until(lambda: len(agent.requests) == 4)
        agent.drop = 0
        assert source.series_at_last() == {"value": 1000}
        agent.drop = 2
        assert source.series() == {"value": 1000}


def test_a_wrong_community_is_hinted_at(agent: SimulatedAgent) -> None:
    with pytest.raises(TargetUnavailable, match="wrong community") as failure:
        probe_once(agent, one(f"{IN_OCTETS}.1"), communityString="s3cret", timeout=0.05)
    assert "s3cret" not in str(failure.value)


def test_the_uptime_may_be_the_only_value(agent: SimulatedAgent) -> None:
    assert probe_once(agent, one("sysUpTime.0", scale=0.01)) == {"value": DAY_TICKS / 100}


def test_a_closed_port_is_unavailable_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    config = section(f"127.0.0.1:{port}", one(f"{IN_OCTETS}.1"), timeout=5)
    with (
        opened(config, SnmpGetSource) as source,
        pytest.raises(TargetUnavailable, match="connection refused"),
    ):
        source.series()


@pytest.mark.parametrize("rubbish", [b"garbage", b"", b"\x30\x82\xff\xff\x02", b"\x00" * 1500])
@pytest.mark.parametrize("more", [{}, {"details": True}, {"metrics": [], "snmpVersion": "2c"}])
def test_rubbish_is_no_answer_for_a_config_without_metrics(
    rubbish: bytes, more: dict[str, Any]
) -> None:
    with serve_udp(lambda _: rubbish) as peer:
        config = {"host": peer.address, "timeout": 0.2, "retries": 0, **more}
        with opened(config, SnmpGetSource) as source:
            with pytest.raises((BadResponse, TargetUnavailable)):
                source.series()


@pytest.mark.parametrize("rubbish", [b"garbage", b"", b"\x30\x82\xff\xff\x02", b"\x00" * 1500])
def test_rubbish_is_a_bad_response(rubbish: bytes) -> None:
    with (
        serve_udp(lambda _: rubbish) as peer,
        opened(section(peer.address, every_port(100)), SnmpGetSource) as source,
        pytest.raises(BadResponse, match="expected an SNMP message"),
    ):
        source.series()


def test_answers_to_other_requests_do_not_prolong_the_wait(agent: SimulatedAgent) -> None:
    earlier: list[bytes] = []

    def previous_answers(answer: bytes) -> Iterator[bytes]:
        yield from earlier
        earlier[:] = [answer] * 50

    agent.mangle = previous_answers
    with pytest.raises(TargetUnavailable, match="no answer"):
        probe_once(agent, one(f"{IN_OCTETS}.1"), timeout=0.05)


def test_a_host_name_is_resolved_and_resolved_again_after_a_failure(
    agent: SimulatedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = agent.address.partition(":")[2]
    asked = []
    address = "127.0.0.1"

    def resolve(host: str, port: int, *_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    config = section(f"switch.example:{port}", one(f"{IN_OCTETS}.1"), timeout=0.5)
    with opened(config, SnmpGetSource) as source:
        assert [source.series(), source.series()] == [{"value": 1000}] * 2
        assert asked == ["switch.example"]
        agent.drop, address = 1000, "127.0.0.99"
        with pytest.raises(TargetUnavailable):
            source.series()
        agent.drop = 0
        with pytest.raises(TargetUnavailable, match="connection refused"):
            source.series()
        address = "127.0.0.1"
        assert source.series() == {"value": 1000}


def test_a_name_that_does_not_resolve_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with (
        opened(section("switch.example", one(f"{IN_OCTETS}.1")), SnmpGetSource) as source,
        pytest.raises(TargetUnavailable, match=r"switch\.example: Name or service not known"),
    ):
        source.series()


def test_without_the_library_and_the_program_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gufo.snmp", None)
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(MissingDependency) as failure,
        opened(section("127.0.0.1", one(UPTIME)), SnmpGetSource),
    ):
        pass
    assert failure.value.requirement == "pollect-sources-network[snmp]"


@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        ({"snmpVersion": 4}, "snmpVersion", "expected 1, 2c or 3"),
        ({"host": "a b"}, "host", "expected an agent"),
        ({"host": "switch:99999"}, "host", "expected a port"),
        ({"host": "tcp:switch", "backend": "native"}, "host", "supports UDP only"),
        ({"snmpVersion": 3}, "username", "needs a user name"),
        ({"snmpVersion": 3, "username": "u" * 33}, "username", "at most 32 octets"),
        (
            {"snmpVersion": 3, "username": "u", "authPassPhrase": "short"},
            "authPassPhrase",
            "at least 8",
        ),
        (
            {"snmpVersion": 3, "username": "u", "privacyPassPhrase": "long enough"},
            "authPassPhrase",
            "authPriv needs a pass phrase",
        ),
        (
            {"snmpVersion": 3, "username": "u", "authPassPhrase": "x" * 8, "authProtocol": "CRC"},
            "authProtocol",
            "expected one of MD5",
        ),
        ({"metrics": [{"name": "n"}]}, "metrics[0].oid", "expected either"),
        ({"metrics": [one("hello world")]}, "metrics[0].oid", "expected an OID"),
        ({"metrics": [one("1.3.${if}")]}, "metrics[0].oid", "expected an OID"),
        (
            {"metrics": [every_port(oidLabels={"if": "1.3"})]},
            "metrics[0].oidLabels",
            "is the range's already",
        ),
        ({"metrics": [every_port(100_000)]}, "metrics[0].range.to", "at most 10000"),
    ],
)
def test_mistakes_in_the_config_name_their_key(
    change: dict[str, Any], key: str, problem: str
) -> None:
    config = {**section("127.0.0.1", one(UPTIME)), **change}
    with pytest.raises(ConfigError, match=problem) as failure:
        build_source(config, SnmpGetSource)
    assert failure.value.key == key


@pytest.mark.parametrize("version", [1, 2, 3, "1", "2", "2c", "3", "v1", "v2c", "V3"])
def test_every_way_to_write_a_version_is_understood(version: int | str) -> None:
    build_source(
        section("127.0.0.1", one(UPTIME), snmpVersion=version, username="u"), SnmpGetSource
    )


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("switch", "udp:switch:161"),
        ("10.0.0.1", "udp:10.0.0.1:161"),
        ("10.0.0.1:1161", "udp:10.0.0.1:1161"),
        ("udp:switch:1161", "udp:switch:1161"),
        ("udp6:[fe80::1]:1161", "udp6:[fe80::1]:1161"),
        ("[fe80::1]", "udp6:[fe80::1]:161"),
        ("fe80::1", "udp6:[fe80::1]:161"),
        ("tcp:switch:1161", "tcp:switch:1161"),
        ("unix:/run/snmpd", "unix:/run/snmpd"),
    ],
)
def test_hosts_are_read_as_net_snmp_reads_them(host: str, address: str) -> None:
    source: Any = build_source(section(host, one(UPTIME)), SnmpGetSource)
    assert str(source._address) == address


def test_the_label_of_a_range_is_no_environment_variable() -> None:
    ranged = {"metrics": [every_port(), one(UPTIME), "rubbish", {"range": 3}]}
    assert SnmpGetConfig.placeholders(ranged) == {"if"}
    assert SnmpGetConfig.placeholders({}) == set()
