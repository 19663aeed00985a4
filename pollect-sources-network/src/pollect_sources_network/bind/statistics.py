"""The statistics of BIND 9 in one form, from JSON (version 1) or XML (version 3).

BIND 9 Administrator Reference Manual, sections "statistics-channels" and "BIND 9 Statistics". JSON
leaves out counters of zero; XML calls the same groups `qtype`, `resstats` and `cachestats`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from pollect.api import BadResponse

QUOTED_CHARACTERS = 80

Counters = Mapping[str, int]

_TRAFFIC_GROUP = re.compile(r"dns-(\w+)-(?:requests|responses)-sizes-(received|sent)-ip(v\d)")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of a view; `kind` is `primary`, `secondary`, `builtin` and so on."""

    name: str
    kind: str
    serial: int


@dataclass(frozen=True, slots=True)
class View:
    """Counters of one view; None where the view has no resolver."""

    resolver: Counters | None = None
    cache_statistics: Counters | None = None
    #: RR sets in the cache by type, with a mark: `A`, `!A` negative, `#A` stale, `~A` going.
    cache: Counters | None = None
    zones: Sequence[Zone] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one answer of the statistics channel holds."""

    boot_time: str
    config_time: str = ""
    query_types: Counters = field(default_factory=dict)
    response_codes: Counters = field(default_factory=dict)
    operations: Counters = field(default_factory=dict)
    #: The server's own counters, `nsstats`.
    server: Counters = field(default_factory=dict)
    #: By name, as in named.conf.
    views: Mapping[str, View] = field(default_factory=dict)
    #: Messages by their size in bytes (`16-31`, `288+`), under direction and transport as in
    #: `("received", "udpv4")`; None where the answer is about something else.
    traffic: Mapping[tuple[str, str], Counters] | None = None


def parse_statistics(body: bytes) -> Statistics:
    """Return the statistics in an answer, JSON or XML.

    Raises `BadResponse` when it is neither, or not of BIND.
    """
    start = body.lstrip()[:1]
    try:
        if start == b"{":
            return _from_json(json.loads(body))
        if start == b"<":
            return _from_xml(body)
    except (ValueError, TypeError, AttributeError, KeyError, ElementTree.ParseError) as error:
        raise BadResponse(f"expected statistics of BIND, got {_quoted(body)}") from error
    raise BadResponse(f"expected JSON or XML of BIND, got {_quoted(body)}")


def _from_json(data: Any) -> Statistics:
    return Statistics(
        boot_time=data["boot-time"],
        config_time=data.get("config-time", ""),
        query_types=_numbers(data.get("qtypes")) or {},
        response_codes=_numbers(data.get("rcodes")) or {},
        operations=_numbers(data.get("opcodes")) or {},
        server=_numbers(data.get("nsstats")) or {},
        views={
            name: View(
                resolver=_numbers(resolver.get("stats")),
                cache_statistics=_numbers(resolver.get("cachestats")),
                cache=_numbers(resolver.get("cache")),
                zones=[
                    Zone(zone["name"], zone.get("type", ""), int(zone["serial"]))
                    for zone in view.get("zones") or ()
                    if "serial" in zone
                ],
            )
            for name, view in (data.get("views") or {}).items()
            for resolver in [view.get("resolver") or {}]
        },
        traffic=_traffic(data["traffic"]) if "traffic" in data else None,
    )


def _traffic(groups: Any) -> Mapping[tuple[str, str], Counters]:
    return {
        (match[2], match[1] + match[3]): _numbers(sizes) or {}
        for name, sizes in groups.items()
        if (match := _TRAFFIC_GROUP.fullmatch(name))
    }


def _numbers(group: Any) -> Counters | None:
    return None if group is None else {name: int(value) for name, value in group.items()}


def _from_xml(body: bytes) -> Statistics:
    # BIND declares no entities; a peer that does means to fill the memory with them.
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ValueError("a document type")
    root = ElementTree.fromstring(body)  # noqa: S314 - see above
    server = root.find("server")
    if server is None:
        raise ValueError("no server")
    return Statistics(
        boot_time=server.findtext("boot-time", ""),
        config_time=server.findtext("config-time", ""),
        query_types=_counters(server, "qtype") or {},
        response_codes=_counters(server, "rcode") or {},
        operations=_counters(server, "opcode") or {},
        server=_counters(server, "nsstat") or {},
        views={
            view.get("name", ""): View(
                resolver=_counters(view, "resstats"),
                cache_statistics=_counters(view, "cachestats"),
                cache=_cache(view),
                zones=[
                    Zone(zone.get("name", ""), zone.findtext("type", ""), int(serial))
                    for zone in view.findall("zones/zone")
                    if (serial := zone.findtext("serial")) is not None
                ],
            )
            for view in root.findall("views/view")
        },
        traffic=_xml_traffic(root.find("traffic")),
    )


def _xml_traffic(
    traffic: ElementTree.Element | None,
) -> Mapping[tuple[str, str], Counters] | None:
    if traffic is None:
        return None
    return {
        (direction, f"{protocol.tag}{version.tag.removeprefix('ip')}"): sizes
        for version in traffic
        for protocol in version
        for direction, kind in (("received", "request-size"), ("sent", "response-size"))
        if (sizes := _counters(protocol, kind)) is not None
    }


def _counters(parent: ElementTree.Element, kind: str) -> Counters | None:
    group = parent.find(f"counters[@type='{kind}']")
    if group is None:
        return None
    return {each.get("name", ""): int(each.text or 0) for each in group.findall("counter")}


def _cache(view: ElementTree.Element) -> Counters | None:
    cache = view.find("cache")
    if cache is None:
        return None
    return {
        entry.findtext("name", ""): int(entry.findtext("counter", "0"))
        for entry in cache.findall("rrset")
    }


def _quoted(body: bytes) -> str:
    return repr(body[:QUOTED_CHARACTERS].decode(errors="replace"))
