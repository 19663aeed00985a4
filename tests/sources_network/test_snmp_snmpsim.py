"""SnmpGet against snmpsim, which knows both ways to make long AES keys of short hashes.

net-snmp has only Blumenthal's, which the words `AES-192` and `AES-256` stand for; Cisco's devices
use Reeder's, the `AES192C` and `AES256C` of the config.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import AuthenticationFailed, ConfigError
from pollect.testing import wait_until
from pollect_sources_network.snmp.get import SnmpGetSource
from tests.simulators.daemons import free_udp_port
from tests.simulators.snmpd import COMMUNITY, await_agent
from tests.sources_network.driver import opened

RESPONDER = Path(sys.executable).with_name("snmpsim-command-responder")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not RESPONDER.exists(), reason="snmpsim is not installed"),
]

IN_OCTETS = "1.3.6.1.2.1.2.2.1.10.1"
AUTH_PHRASE, PRIVACY_PHRASE = "authphrase", "privphrase"
#: snmpsim's word for a protocol, by ours.
PROTOCOLS = {
    "AES-192": "AES192BLMT",
    "AES-256": "AES256BLMT",
    "AES192C": "AES192",
    "AES256C": "AES256",
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("snmpsim")
    (folder / "data").mkdir()
    # The name of a recording is the context, which is empty here, or the community.
    for name, octets in (("", 5), (COMMUNITY, 5), ("vlan-7", 7)):
        (folder / "data" / f"{name}.snmprec").write_text(f"{IN_OCTETS}|65|{octets}\n")
    port = free_udp_port()
    address = f"127.0.0.1:{port}"
    users = [
        f"--v3-{option}={value}"
        for ours, theirs in PROTOCOLS.items()
        for option, value in (
            ("user", ours),
            ("auth-proto", "SHA"),
            ("auth-key", AUTH_PHRASE),
            ("priv-proto", theirs),
            ("priv-key", PRIVACY_PHRASE),
        )
    ]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                RESPONDER,
                "--process-user=root",
                "--process-group=root",
                f"--cache-dir={folder / 'cache'}",
                f"--data-dir={folder / 'data'}",
                *users,
                f"--agent-udpv4-endpoint={address}",
            ],
            stdout=output,
            stderr=output,
        )

    def is_listening() -> bool:
        if process.poll() is not None:
            pytest.skip(f"snmpsim does not run here: {log.read_text()[-200:]}")
        return "Listening" in log.read_text()

    try:
        wait_until(is_listening, "snmpsim", limit_seconds=60)
        await_agent(("127.0.0.1", port))
        yield address
    finally:
        process.terminate()
        process.wait(30)


def probe(host: str, user: str, protocol: str, **more: Any) -> dict[str, float]:
    config = {
        "host": host,
        "snmpVersion": 3,
        "username": user,
        "authPassPhrase": AUTH_PHRASE,
        "privacyPassPhrase": PRIVACY_PHRASE,
        "privacyProtocol": protocol,
        "metrics": [{"name": "octets", "oid": IN_OCTETS}],
        **more,
    }
    with opened(config, SnmpGetSource) as source:
        return source.series()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_key_extensions_are_spoken(host: str, protocol: str) -> None:
    assert probe(host, protocol, protocol) == {"octets": 5}


@pytest.mark.parametrize(
    "more", [{"contextName": "vlan-7"}, {"unconnected": True}, {"backend": "snmpget"}]
)
def test_programs_are_not_asked_for_the_key_extension_they_lack(
    host: str, more: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="do not support AES192C") as caught:
        probe(host, "AES192C", "AES192C", **more)
    assert caught.value.key == "privacyProtocol"


def test_a_context_is_the_name_of_a_recording(host: str) -> None:
    assert probe(host, "AES-256", "AES-256", contextName="vlan-7") == {"octets": 7}


def test_the_other_key_extension_is_refused(host: str) -> None:
    with pytest.raises(AuthenticationFailed):
        probe(host, "AES-256", "AES256C")
