"""The statistics of BIND 9 in one form, from JSON (version 1) or XML (version 3).

BIND 9 Administrator Reference Manual, sections "statistics-channels" and "BIND 9 Statistics". JSON
leaves out counters of zero; XML calls the same groups `qtype`, `resstats` and `cachestats`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from pollect.api import BadResponse

QUOTED_CHARACTERS = 80

Counters = Mapping[str, int]

_NOT_BIND = (ValueError, TypeError, KeyError, RecursionError, ElementTree.ParseError)
_TRAFFIC_GROUP = re.compile(r"dns-(\w+)-(?:requests|responses)-sizes-(received|sent)-ip(v\d)")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of a view; `kind` is `primary`, `secondary`, `builtin` and so on."""

    name: str
    kind: str
    #: None where named has none: the file is missing, or the zone not transferred yet.
    serial: int | None
    #: `IN`, `CH`: a view may have one zone of a name in each.
    rdata_class: str = ""


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
    #: What of the answer could not be read.
    problems: Sequence[str] = ()


def parse_statistics(body: bytes) -> Statistics:
    """Return the statistics in an answer, JSON or XML.

    A number that cannot be read costs only itself and is one of the `problems`. Raises
    `BadResponse` when it is neither, or not of BIND.
    """
    start = body.lstrip()[:1]
    try:
        if start == b"{":
            return _from_json(json.loads(body))
        if start == b"<":
            return _from_xml(body)
    except _NOT_BIND as error:
        raise BadResponse(f"expected statistics of BIND, got {_quoted(body)}") from error
    raise BadResponse(f"expected JSON or XML of BIND, got {_quoted(body)}")


def _from_json(data: Any) -> Statistics:
    problems: list[str] = []

    def members(name: str, value: Any) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        if value is not None:
            problems.append(f"{name}: expected an object, got {_quoted(value)}")
        return {}

    def numbers(name: str, group: Any) -> Counters | None:
        if group is None:
            return None
        return _numbers(name, members(name, group).items(), problems)

    views: dict[str, View] = {}
    for name, view in members("views", data.get("views")).items():
        view = members(f"view {name}", view)
        resolver = members(f"view {name}: resolver", view.get("resolver"))
        views[name] = View(
            resolver=numbers(f"view {name}: stats", resolver.get("stats")),
            cache_statistics=numbers(f"view {name}: cachestats", resolver.get("cachestats")),
            cache=numbers(f"view {name}: cache", resolver.get("cache")),
            zones=_json_zones(view.get("zones"), problems),
        )
    traffic = {
        (match[2], match[1] + match[3]): numbers(name, sizes) or {}
        for name, sizes in members("traffic", data.get("traffic")).items()
        if (match := _TRAFFIC_GROUP.fullmatch(name))
    }
    return Statistics(
        boot_time=str(data["boot-time"] or ""),
        config_time=str(data.get("config-time") or ""),
        query_types=numbers("qtypes", data.get("qtypes")) or {},
        response_codes=numbers("rcodes", data.get("rcodes")) or {},
        operations=numbers("opcodes", data.get("opcodes")) or {},
        server=numbers("nsstats", data.get("nsstats")) or {},
        views=views,
        traffic=traffic if "traffic" in data else None,
        problems=problems,
    )


def _json_zones(zones: Any, problems: list[str]) -> list[Zone]:
    found = []
    for zone in zones if isinstance(zones, list) else ():
        if not isinstance(zone, dict) or not isinstance(zone.get("name"), str):
            problems.append(f"zones: expected a zone with a name, got {_quoted(zone)}")
        else:
            kind, rdata_class = (str(zone.get(name) or "") for name in ("type", "class"))
            found.append(Zone(zone["name"], kind, _serial(zone.get("serial")), rdata_class))
    return found


def _serial(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None  # XML has `-`, JSON nothing at all


def _numbers(
    group: str, counters: Iterable[tuple[str, Any]], problems: list[str]
) -> dict[str, int]:
    """Return the counters of a group that are numbers; of two with one name, both together."""
    found: dict[str, int] = {}
    for name, value in counters:
        try:
            found[name] = found.get(name, 0) + int(value)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"{group}: {name}: expected a number, got {_quoted(value)}")
    return found


def _from_xml(body: bytes) -> Statistics:
    # BIND declares no entities; a peer that does means to fill the memory with them.
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ValueError("a document type")
    root = ElementTree.fromstring(body)  # noqa: S314 - see above
    server = root.find("server")
    if server is None:
        raise ValueError("no server")
    problems: list[str] = []
    views = {}
    for view in root.findall("views/view"):
        name = view.get("name", "")
        views[name] = View(
            resolver=_counters(view, "resstats", problems),
            cache_statistics=_counters(view, "cachestats", problems),
            cache=_cache(view, problems),
            zones=[
                Zone(
                    zone.get("name", ""),
                    zone.findtext("type", ""),
                    _serial(zone.findtext("serial")),
                    zone.get("rdataclass", ""),
                )
                for zone in view.findall("zones/zone")
            ],
        )
    return Statistics(
        boot_time=server.findtext("boot-time", ""),
        config_time=server.findtext("config-time", ""),
        query_types=_counters(server, "qtype", problems) or {},
        response_codes=_counters(server, "rcode", problems) or {},
        operations=_counters(server, "opcode", problems) or {},
        server=_counters(server, "nsstat", problems) or {},
        views=views,
        traffic=_xml_traffic(root.find("traffic"), problems),
        problems=problems,
    )


def _xml_traffic(
    traffic: ElementTree.Element | None, problems: list[str]
) -> Mapping[tuple[str, str], Counters] | None:
    if traffic is None:
        return None
    return {
        (direction, f"{protocol.tag}{version.tag.removeprefix('ip')}"): sizes
        for version in traffic
        for protocol in version
        for direction, kind in (("received", "request-size"), ("sent", "response-size"))
        if (sizes := _counters(protocol, kind, problems)) is not None
    }


def _counters(parent: ElementTree.Element, kind: str, problems: list[str]) -> Counters | None:
    group = parent.find(f"counters[@type='{kind}']")
    if group is None:
        return None
    pairs = ((each.get("name", ""), each.text or 0) for each in group.findall("counter"))
    return _numbers(kind, pairs, problems)


def _cache(view: ElementTree.Element, problems: list[str]) -> Counters | None:
    cache = view.find("cache")
    if cache is None:
        return None
    pairs = (
        (entry.findtext("name", ""), entry.findtext("counter", "0"))
        for entry in cache.findall("rrset")
    )
    return _numbers("cache", pairs, problems)


def _quoted(value: Any) -> str:
    text = value[:QUOTED_CHARACTERS].decode(errors="replace") if isinstance(value, bytes) else value
    return repr(text)[: QUOTED_CHARACTERS + 2]


def lower_names(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the counters by their names in lower case."""
    lowered: Counter[str] = Counter()
    for name, counter in counters.items():
        lowered[name.lower()] += counter
    return lowered


def split_cache(cache: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the entries of a cache by type in lower case, under their mark or none.

    `!` is a negative entry, `#` a stale one, `~` one about to be removed.
    """
    entries: dict[str, dict[str, int]] = {"": {}, "!": {}, "#": {}, "~": {}}
    for name, count in cache.items():
        # A stale negative entry has both marks; what it is first decides.
        mark = name[:1] if name[:1] in "!#~" else ""
        query_type = name.lstrip("!#~").lower()
        entries[mark][query_type] = entries[mark].get(query_type, 0) + count
    return entries


def cumulate_sizes(sizes: Counters, bounds: Iterable[int]) -> list[tuple[str, int]]:
    """Return how many messages have at most so many bytes, the last time for all of them.

    `sizes` are counted by range, `16-31` or `288+`. Raises `BadResponse` for another range.
    """
    try:
        counts = [(int(name.partition("-")[2] or -1), count) for name, count in sizes.items()]
    except ValueError as error:
        raise BadResponse(f"expected sizes like 16-31 and 288+, got {list(sizes)[:3]}") from error
    found = [
        (str(bound), sum(count for last, count in counts if 0 <= last <= bound)) for bound in bounds
    ]
    return [*found, ("+Inf", sum(sizes.values()))]


def parse_time(text: str) -> float:
    """Return Unix time in seconds of a time of BIND; raises `BadResponse`."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadResponse(f"expected a time like 2026-01-01T00:00:00Z, got {text!r}") from error
