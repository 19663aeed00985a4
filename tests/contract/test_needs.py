"""What the specs say the types need, held against the types themselves."""

import re
import socket
from pathlib import Path

import pytest

from pollect.config.describe import describe_options
from pollect.discovery.catalogue import Catalogue
from pollect.discovery.entry import Entry
from pollect.discovery.registry import Registry
from pollect.needs import Capability, Needs, Port, Setting

REGISTRY = Registry()
ENTRIES = [*REGISTRY.sources.values(), *REGISTRY.writers.values()]
#: include/uapi/linux/capability.h, those that a metrics daemon could ever want.
CAPABILITIES = {
    "CAP_BPF",
    "CAP_DAC_READ_SEARCH",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.spec.type)
def test_options_that_needs_refer_to_exist(entry: Entry) -> None:
    needs = entry.spec.needs
    named = {location.option for location in needs.paths}
    named |= {device.option for device in needs.devices}
    named |= {port.option for port in needs.ports}
    named |= {port.address for port in needs.ports}
    options = {row.name for row in describe_options(entry.spec.load().config_type)}
    assert named - {""} <= options


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.spec.type)
def test_needs_are_names_that_the_kernel_knows(entry: Entry) -> None:
    needs = entry.spec.needs
    assert {capability.name for capability in needs.capabilities} <= CAPABILITIES
    assert all(hasattr(socket, family) for family in needs.families)
    granted = {capability.name for capability in needs.capabilities}
    assert {setting.instead_of for setting in needs.settings} - {""} <= granted
    assert all(not Path(device.pattern).is_absolute() for device in needs.devices)
    assert all(re.fullmatch(r"\S.*[^.]", line) for line in needs.words())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.spec.type)
def test_the_catalogue_knows_the_same_needs_without_the_distribution(entry: Entry) -> None:
    known = Catalogue().find(entry.kind, entry.spec.type)
    assert known is not None
    assert known.spec.needs == entry.spec.needs


def test_only_what_reads_the_host_can_do_without_the_network() -> None:
    silent = {entry.spec.type for entry in ENTRIES if not entry.spec.needs.families}
    assert {"LoadAvg", "DiskUsage", "SmartCtl", "JsonLines"} <= silent
    assert silent.isdisjoint({"Ping", "Http", "Mqtt", "Prometheus", "Plex", "Interface"})


def test_needs_are_told_in_words() -> None:
    needs = Needs(
        capabilities=(Capability("CAP_NET_RAW", "raw sockets"),),
        settings=(Setting("net.x", "0 9", instead_of="CAP_NET_RAW", judge="group range"),),
        ports=(Port("udp", 9522),),
        multicast=("239.12.255.254",),
    )
    assert needs.words() == [
        "a group within net.x, or CAP_NET_RAW for raw sockets",
        "the UDP port 9522 to listen on",
        "multicast packets to 239.12.255.254",
    ]
