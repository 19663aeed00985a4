"""SnmpGet against Debian's snmpd: every version, security level and backend."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import AuthenticationFailed, ConfigError, TargetUnavailable
from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.program import parse_output
from tests.simulators import snmpd
from tests.simulators.daemons import free_udp_port
from tests.simulators.snmp_agent import SimulatedAgent
from tests.simulators.snmpd import needs_snmpd, run_snmpd
from tests.sources_network.driver import opened

pytestmark = [pytest.mark.integration, needs_snmpd]
needs_programs = pytest.mark.skipif(
    shutil.which("snmpget") is None, reason="snmpget is not installed"
)
#: Options that select who talks to the agent.
every_backend = pytest.mark.parametrize(
    "backend",
    [
        pytest.param({"backend": "native"}, id="gufo-snmp"),
        pytest.param({"backend": "snmpget"}, id="snmpget", marks=needs_programs),
    ],
)

AUTH_PHRASE, PRIVACY_PHRASE = "authphrase", 'priv "phrase" #1'
#: Name of the user, authentication, encryption, in snmpd's words.
USERS = [
    ("nobody", "", ""),
    ("md5", "MD5", ""),
    ("sha224", "SHA-224", ""),
    ("md5des", "MD5", "DES"),
    ("shaaes", "SHA", "AES"),
    ("shaaes192", "SHA", "AES-192"),
    ("shaaes256", "SHA", "AES-256"),
    ("sha256aes", "SHA-256", "AES"),
    ("sha384aes256", "SHA-384", "AES-256"),
    ("sha512aes", "SHA-512", "AES"),
    ("sha512aes256", "SHA-512", "AES-256"),
]
PINNED = "1.3.6.1.4.1.99999.1"
ABSENT = "1.3.6.1.4.1.99999.2"


def user_settings() -> str:
    lines = []
    for name, auth, privacy in USERS:
        phrases = f'{auth} "{AUTH_PHRASE}"' if auth else ""
        if privacy:
            escaped = PRIVACY_PHRASE.replace('"', '\\"')
            phrases += f' {privacy} "{escaped}"'
        lines.append(f"createUser {name} {phrases}")
        lines.append(f"rouser {name} {'priv' if privacy else 'auth' if auth else 'noauth'}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = (
        f"{user_settings()}"
        f"override .{PINNED}.1.0 counter 4294967290\n"
        f'override .{PINNED}.2.0 octet_str "1.71"\n'
        f'override .{PINNED}.3.0 octet_str "a \\"b\\" c"\n'
        f"override .{PINNED}.4.0 timeticks 200\n"
        f"override .{PINNED}.5.0 object_id .1.3.6.1.4.1\n"
        f'override .{PINNED}.6.0 octet_str ""\n'
    )
    with run_snmpd(tmp_path_factory.mktemp("snmpd"), settings) as host:
        yield host


def metric(number: int, **more: Any) -> dict[str, Any]:
    return {"name": f"value{number}", "oid": f"{PINNED}.{number}.0", **more}


METRICS = [
    metric(1, oidLabels={"text": f"{PINNED}.3.0", "oid": f"{PINNED}.5.0", "no": f"{PINNED}.6.0"}),
    metric(2),
    metric(4),
    {"name": "load", "oid": "laLoadFloat.1"},
    {"name": "absent", "oid": f"{ABSENT}.0"},
    {"name": "loopback_mac", "oid": "ifPhysAddress.1"},
    {"name": "in_octets", "oid": "ifInOctets.1", "oidLabels": {"if": "ifDescr.1"}},
]
SERIES = {
    'value1{text="a "b" c",oid="1.3.6.1.4.1",no=""}': 4294967290,
    "value2": 1.71,
    "value4": 200,
}


def section(host: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "metrics": METRICS, **more}


def check(config: dict[str, Any]) -> None:
    with opened(config, SnmpGetSource) as source:
        first, second = source.series(), source.series()
    assert first.keys() == second.keys()
    assert {name: second[name] for name in SERIES} == SERIES
    assert second.keys() - SERIES.keys() == {"load", 'in_octets{if="lo"}'}


def v3(user: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    name, auth, privacy = user
    config: dict[str, Any] = {"snmpVersion": 3, "username": name}
    if auth:
        config |= {"authPassPhrase": AUTH_PHRASE, "authProtocol": auth}
    if privacy:
        config |= {"privacyPassPhrase": PRIVACY_PHRASE, "privacyProtocol": privacy}
    return config | more


@pytest.mark.parametrize("version", [1, "2c"])
@every_backend
def test_communities_are_read_in_both_versions(
    host: str, version: int | str, backend: dict[str, Any]
) -> None:
    check(section(host, snmpVersion=version, **backend))


@pytest.mark.parametrize("user", USERS, ids=[user[0] for user in USERS])
@every_backend
def test_every_security_level_and_protocol_of_version_3(
    host: str, user: tuple[str, str, str], backend: dict[str, Any]
) -> None:
    check(section(host, **backend, **v3(user)))


def test_a_snmpd_whose_port_is_taken_is_started_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimulatedAgent() as squatter:
        ports = iter([squatter.port, free := free_udp_port()])
        monkeypatch.setattr(snmpd, "free_udp_port", lambda: next(ports))
        with run_snmpd(tmp_path) as host:
            assert host == f"127.0.0.1:{free}"


def test_a_snmpd_that_never_gets_its_port_says_why(tmp_path: Path) -> None:
    with SimulatedAgent() as squatter:
        with pytest.raises(AssertionError, match=r"ended 5 times: (.|\n)*Error opening"):
            with run_snmpd(tmp_path, port=squatter.port):
                pass


@needs_programs
def test_other_transports_take_the_program(host: str) -> None:
    check(section(f"tcp:{host}", snmpVersion="2c"))


@needs_programs
def test_without_the_library_the_program_does_its_work(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gufo.snmp", None)
    check(section(host, snmpVersion="2c"))


@every_backend
@pytest.mark.parametrize(
    "change",
    [
        {"authPassPhrase": "wrong phrase"},
        {"username": "stranger"},
        {"securityLevel": "noAuthNoPriv"},
    ],
)
def test_refused_credentials_are_told_apart_and_kept_secret(
    host: str, backend: dict[str, Any], change: dict[str, Any]
) -> None:
    config = section(host, **backend, timeout=0.5, **(v3(USERS[4]) | change))
    with opened(config, SnmpGetSource) as source:
        with pytest.raises(AuthenticationFailed) as failure:
            source.series()
        assert "phrase" not in str(failure.value).replace("pass phrase", "")


def test_a_wrong_privacy_phrase_gets_silence_and_a_hint(host: str) -> None:
    config = section(host, timeout=0.2, retries=0, **v3(USERS[4], privacyPassPhrase="wrong one"))
    with (
        opened(config, SnmpGetSource) as source,
        pytest.raises(TargetUnavailable, match="wrong privacy pass phrase"),
    ):
        source.series()


@every_backend
@pytest.mark.parametrize("version", [1, "2c", 3])
def test_more_objects_than_an_answer_holds_are_read_all(
    host: str, version: int | str, backend: dict[str, Any]
) -> None:
    walked = [
        {"name": f"object{column}", "oid": f"1.3.6.1.2.1.2.2.1.{column}.1"}
        for column in (1, 3, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20)
    ]
    repeated = [
        {"name": f"loads{number}", "oid": f"1.3.6.1.4.1.2021.{table}"}
        for number, table in enumerate(
            [f"11.{n}.0" for n in (50, 51, 52, 53, 54, 57, 58, 59, 60)]
            + [f"4.{n}.0" for n in (3, 4, 5, 6, 11, 13, 14, 15)]
            + [f"10.1.{column}.{row}" for column in (1, 5, 6) for row in (1, 2, 3)]
        )
    ]
    absent = [{"name": f"absent{number}", "oid": f"{ABSENT}.{number}"} for number in range(100)]
    security = v3(USERS[4]) if version == 3 else {"snmpVersion": version}
    config = section(host, maxOidsPerRequest=128, timeout=0.3, **backend, **security)
    config["metrics"] = [*absent, *walked, *repeated]
    with opened(config, SnmpGetSource) as source:
        assert len(source.series()) == len(walked) + len(repeated)
        assert len(source.series()) == len(walked) + len(repeated)


@every_backend
@pytest.mark.parametrize("user", [USERS[0], USERS[4]], ids=["noAuthNoPriv", "authPriv"])
def test_a_restarted_agent_is_read_again_without_a_gap(
    tmp_path: Path, user: tuple[str, str, str], backend: dict[str, Any]
) -> None:
    port = free_udp_port()
    config = section(f"127.0.0.1:{port}", timeout=0.3, **backend, **v3(user))
    config["metrics"] = [{"name": "load", "oid": "laLoadFloat.1"}]
    with opened(config, SnmpGetSource) as source:
        for _ in range(2):
            with run_snmpd(tmp_path, user_settings(), port=port):
                assert source.series().keys() == {"load"}
                assert source.series().keys() == {"load"}


@needs_programs
def test_the_command_line_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "arguments"
    program = tmp_path / "snmpget"
    program.write_text(f'#!/bin/sh\necho "$@" >{log}\ncat "$SNMPCONFPATH/snmp.conf" >>{log}.conf\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    config = section("127.0.0.1", backend="snmpget", **v3(USERS[4]))
    with opened(config, SnmpGetSource) as source, pytest.raises(Exception, match="none of the"):
        source.series()
    assert "phrase" not in log.read_text()
    assert AUTH_PHRASE in Path(f"{log}.conf").read_text()


@needs_programs
def test_names_outside_the_table_are_translated(host: str, tmp_path: Path) -> None:
    (tmp_path / "RAIN-MIB.txt").write_text(
        "RAIN-MIB DEFINITIONS ::= BEGIN\n"
        "rain OBJECT IDENTIFIER ::= { iso 3 6 1 4 1 99999 }\n"
        "rainTips OBJECT IDENTIFIER ::= { rain 1 }\n"
        "END\n"
    )
    config = section(host, snmpVersion="2c", mibDirs=[str(tmp_path)])
    config["metrics"] = [
        {"name": "value", "oid": "RAIN-MIB::rainTips.1.0"},
        {"name": "ranged", "oid": "rainTips.${n}.0", "range": {"from": 1, "to": 2, "label": "n"}},
    ]
    with opened(config, SnmpGetSource) as source:
        assert source.series() == {
            "value": 4294967290,
            'ranged{n="1"}': 4294967290,
            'ranged{n="2"}': 1.71,
        }


@needs_programs
def test_a_name_nobody_knows_is_a_config_error(host: str) -> None:
    config = section(host, metrics=[{"name": "value", "oid": "NO-MIB::noName.0"}])
    with (
        pytest.raises(ConfigError, match="NO-MIB::noName") as failure,
        opened(config, SnmpGetSource),
    ):
        pass
    assert failure.value.key == "metrics[0].oid"


def test_the_output_of_net_snmp_is_understood_in_all_its_forms() -> None:
    output = (
        ".1.1 = INTEGER: 5\n.1.2 = INTEGER: up(1)\n.1.3 = INTEGER: 1500 octets\n"
        ".1.4 = Counter64: 18446744073709551615\n.1.5 = Timeticks: (200) 0:00:02.00\n"
        '.1.6 = STRING: "two\nlines \\"quoted\\""\n.1.7 = Hex-STRING: 82 5D \n.1.8 = ""\n'
        ".1.9 = No Such Object available on this agent at this OID\n"
        ".1.10 = No Such Instance currently exists at this OID\n"
        ".1.11 = OID: .1.3.6.1\n.1.12 = IpAddress: 127.0.0.1\n.1.13 = Opaque: Float: 0.96\n"
        ".1.14 = STRING: 0:1b:21\n.1.15 = Gauge32: 7\n.1.16 = NULL\n"
        ".1.17 = No more variables left in this MIB View (It is past the end of the MIB tree)\n"
    )
    assert parse_output(output) == {
        "1.1": 5,
        "1.2": 1,
        "1.3": 1500,
        "1.4": 2**64 - 1,
        "1.5": 200,
        "1.6": b'two\nlines "quoted"',
        "1.7": b"\x82\x5d",
        "1.8": b"",
        "1.11": "1.3.6.1",
        "1.12": "127.0.0.1",
        "1.13": 0.96,
        "1.14": b"0:1b:21",
        "1.15": 7,
    }
