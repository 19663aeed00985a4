"""Source `Bind`: queries and cache of an ISC BIND 9 name server.

Reads the statistics channel of named (`statistics-channels` in named.conf) by HTTP, JSON or XML,
one request of about 3 kB per probe; a second one for zones (0.4 kB each, and named has a hundred of
its own per view) and a third one for traffic. Rates come with the second probe.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from pollect.api import (
    BadResponse,
    Metric,
    Name,
    Sample,
    Seconds,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.distinct import Named, tell_apart
from pollect.support.http import HttpClient
from pollect.support.rates import Rates
from pollect.support.urls import check_base_url, check_url, redact_url
from pollect_sources_network.bind.metrics import (
    BOOT_TIME,
    CONFIG_TIME,
    RECURSIVE_CLIENTS,
    REQUESTS,
    RESPONSES,
    SERVER_EVENTS,
    SERVER_QUERIES,
    TRAFFIC,
    ZONE_SERIAL,
)
from pollect_sources_network.bind.statistics import (
    Statistics,
    View,
    Zone,
    cumulate_sizes,
    lower_names,
    parse_statistics,
    parse_time,
    split_cache,
)

#: In the order of their size; the last answers on every version that is still in use.
PATHS = {"json": ("/json/v1/server",), "xml": ("/xml/v3/server", "/")}
#: named's own view for questions about itself.
INTERNAL_VIEW = "_bind"
#: Zones that named makes by itself, as for 10.in-addr.arpa.
BUILTIN_ZONE = "builtin"
#: Kinds of zone that lack a serial only while named could not load or transfer them.
LOADED_ZONES = frozenset({"primary", "master", "secondary", "slave", "mirror", "stub"})
#: Zones that one trouble names at most.
MOST_NAMED = 5
#: What the troubles call numbers that cannot be read.
COUNTERS = "counters of named"
#: Without `zones`, more series than that help no one.
MAX_ZONES = 200
NOT_FOUND = 404
DEFAULT_TIMEOUT_SECONDS = 5.0
REPORT_SECONDS = 1.0

#: named counts in steps of 16 bytes, requests up to 288 and responses up to 4096; these bounds keep
#: the number of series small, and the same all the time.
SIZE_BOUNDS = {
    "received": (31, 63, 127, 255),
    "sent": (63, 127, 255, 511, 1023, 1231, 1471, 2047, 4095),
}

SERVER_EVENT_NAMES = (
    "QrySuccess", "QryFailure", "QryDropped", "QryRecursion", "QryDuplicate", "RPZRewrites",
    "RateDropped", "RateSlipped", "XfrReqDone", "TruncatedResp",
)  # fmt: skip
RESOLVER_EVENT_NAMES = (
    "Lame", "Retry", "QueryTimeout", "EDNS0Fail", "ValOk", "ValNegOk", "ValFail", "QryRTT10",
    "QryRTT100", "QryRTT500", "QryRTT800", "QryRTT1600", "QryRTT1600+",
)  # fmt: skip


class BindConfig(SourceConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Statistics channel, as in http://192.168.1.10:8053.")]
    views: Annotated[
        tuple[Name, ...] | None,
        Meta(description="Views as named.conf writes them; default: all but `_bind`."),
    ] = None
    zones: Annotated[
        tuple[Name, ...] | None,
        Meta(
            description="Zones to report the serial of, as shell patterns; default: none, with "
            f"`details` all but those that named makes by itself, at most {MAX_ZONES}."
        ),
    ] = None
    traffic: Annotated[
        bool, Meta(description="Report how large requests and responses are, as a histogram.")
    ] = False
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for each answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )
    format: Annotated[
        Literal["auto", "json", "xml"],
        Meta(description="What to ask for if the `url` has no path; `auto` prefers JSON."),
    ] = "auto"


class BindSource(Source[BindConfig]):
    """Queries, resolver and cache of one BIND 9; one to three HTTP requests per probe."""

    config_type = BindConfig
    target_option = "url"
    target_prefix = "http://"
    metrics = (
        SERVER_QUERIES,
        RESPONSES,
        REQUESTS,
        SERVER_EVENTS,
        RECURSIVE_CLIENTS,
        BOOT_TIME,
        CONFIG_TIME,
        ZONE_SERIAL,
        *TRAFFIC.values(),
    )
    dynamic_metrics = True

    def __init__(self, config: BindConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._urls = list_urls(config.url, config.format)
        self._rates: Rates[tuple[str, str]] = Rates()
        self._boot_time = ""
        self._view_metrics: dict[str, Metric] = {}
        self._client: HttpClient | None = None

    def open(self) -> None:
        self.close()
        self._client = HttpClient(timeout=self.config.timeout or DEFAULT_TIMEOUT_SECONDS)

    def probe(self) -> Iterable[Sample]:
        statistics = parse_statistics(self._fetch())
        if statistics.boot_time != self._boot_time:
            self._rates, self._boot_time = Rates(), statistics.boot_time
        samples = [*self._server(statistics), *self._views(statistics)]
        problems = list(statistics.problems)
        for name, is_wanted, read in (
            ("zones", self._wants_zones, self._zones),
            ("traffic", self.config.traffic, self._traffic),
        ):
            if is_wanted:
                with self.troubles.part(f"{name} of named"):
                    part = self._part(name, statistics)
                    problems += part.problems if part is not statistics else ()
                    samples += read(part)
        self._note(COUNTERS, "; ".join(problems))
        return samples

    def _note(self, part: str, problem: str) -> None:
        if problem:
            self.troubles.failed(part, problem)
        else:
            self.troubles.works(part)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        timeout = self.config.timeout or DEFAULT_TIMEOUT_SECONDS
        requests = 1 + self._wants_zones + self.config.traffic
        return max(self.context.interval, 10.0, requests * timeout + REPORT_SECONDS)

    @property
    def _wants_zones(self) -> bool:
        zones = self.config.zones
        return self.config.details if zones is None else bool(zones)

    def _fetch(self) -> bytes:
        """Return the answer of the first URL that exists, and remember that one."""
        if self._client is None:
            raise TargetUnavailable(f"{redact_url(self.config.url)}: not open")
        for url in self._urls:
            answer = self._client.get(url, statuses=(200, NOT_FOUND))
            if answer.status != NOT_FOUND:
                self._urls = [url]
                return answer.body
        raise BadResponse(f"{redact_url(self.config.url)}: no statistics of BIND there")

    def _part(self, name: str, statistics: Statistics) -> Statistics:
        """Return another part of the statistics; the same where the first answer held all."""
        url, slash, part = self._urls[0].rpartition("/")
        if self._client is None or part != "server":
            return statistics
        answer = self._client.get(f"{url}{slash}{name}", statuses=(200, NOT_FOUND))
        return statistics if answer.status == NOT_FOUND else parse_statistics(answer.body)

    def _server(self, statistics: Statistics) -> Iterator[Sample]:
        yield from self._per_second(SERVER_QUERIES, lower_names(statistics.query_types))
        if not self.config.details:
            return
        yield from self._per_second(RESPONSES, statistics.response_codes)
        yield from self._per_second(REQUESTS, statistics.operations)
        events = {name: statistics.server.get(name, 0) for name in SERVER_EVENT_NAMES}
        yield from self._per_second(SERVER_EVENTS, events)
        yield RECURSIVE_CLIENTS.sample(statistics.server.get("RecursClients", 0))
        for metric, text in (
            (BOOT_TIME, statistics.boot_time),
            (CONFIG_TIME, statistics.config_time),
        ):
            if text:
                with self.troubles.part(f"{metric.name} of named"):
                    yield metric.sample(parse_time(text))

    def _zones(self, statistics: Statistics) -> Iterator[Sample]:
        zones = [
            (zone, view)
            for view in self._view_names(statistics)
            for zone in statistics.views.get(view, View()).zones
            if self._is_wanted(zone)
        ]
        if self.config.zones is None and len(zones) > MAX_ZONES:
            self.troubles.failed(
                "zones",
                f"{len(zones)}, of which the first {MAX_ZONES} are reported; `zones` selects some",
            )
            zones = sorted(zones, key=lambda each: each[0].name)[:MAX_ZONES]
        elif not zones and self.config.zones is not None:
            self.troubles.failed("zones", "named has none of those asked for")
        else:
            self.troubles.works("zones")
        views = [view for _, view in zones]
        names = tell_apart(
            Named(zone.name, zone.rdata_class, (view, zone.kind)) for zone, view in zones
        )
        without = []
        for (zone, view), name in zip(zones, names, strict=True):
            if zone.serial is not None:
                yield ZONE_SERIAL.sample(zone.serial, name, view, zone.kind)
            elif zone.kind in LOADED_ZONES:
                without.append(zone.name if len(set(views)) == 1 else f"{zone.name} of view {view}")
        more = f" and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
        self._note(
            "zones without serial",
            f"{', '.join(without[:MOST_NAMED])}{more}: no file, or not transferred yet"
            if without
            else "",
        )

    def _is_wanted(self, zone: Zone) -> bool:
        patterns = self.config.zones
        if patterns is None:
            return zone.kind != BUILTIN_ZONE
        name = zone.name.lower()
        return any(fnmatchcase(name, pattern.lower().rstrip(".") or ".") for pattern in patterns)

    def _traffic(self, statistics: Statistics) -> Iterator[Sample]:
        if statistics.traffic is None:
            self.troubles.failed("traffic", "named has no such statistics")
            return
        self.troubles.works("traffic")
        for (direction, transport), sizes in statistics.traffic.items():
            for bound, count in cumulate_sizes(sizes, SIZE_BOUNDS[direction]):
                yield TRAFFIC[direction].sample(count, transport, bound)

    def _view_names(self, statistics: Statistics) -> Iterable[str]:
        wanted = self.config.views
        return wanted if wanted is not None else sorted(statistics.views.keys() - {INTERNAL_VIEW})

    def _views(self, statistics: Statistics) -> Iterator[Sample]:
        names = list(dict.fromkeys(self._view_names(statistics)))
        # In the names of values views are in lower case, and `Lan` may stand beside `lan`.
        lowered = tell_apart(Named(name.lower()) for name in names)
        for name, value_name in zip(names, lowered, strict=True):
            view = statistics.views.get(name)
            if view is None:
                known = ", ".join(sorted(statistics.views)) or "none"
                self.troubles.failed(f"view {name}", f"not known to named, there are: {known}")
                continue
            self.troubles.works(f"view {name}")
            yield from self._view(value_name, view)

    def _view(self, name: str, view: View) -> Iterator[Sample]:
        if view.cache is not None:
            entries = split_cache(view.cache)
            metric = self._metric(f"{name}.cache.rrsets", "RR sets in the cache.")
            for query_type, count in entries[""].items():
                yield metric.sample(count, query_type)
            if self.config.details:
                yield from self._marked_entries(name, entries)
        if view.resolver is not None:
            queries = {"v4": view.resolver.get("Queryv4", 0), "v6": view.resolver.get("Queryv6", 0)}
            help = "Queries per second that the resolver sent."
            yield from self._per_second(self._metric(f"{name}.queries_per_sec", help), queries)
        if view.cache_statistics is not None:
            accesses = {
                "hits": view.cache_statistics.get("CacheHits", 0),
                "misses": view.cache_statistics.get("CacheMisses", 0),
            }
            help = "Accesses to the cache per second."
            yield from self._per_second(self._metric(f"{name}.cache_per_sec", help), accesses)
        if self.config.details:
            yield from self._view_details(name, view)

    def _marked_entries(
        self, name: str, entries: Mapping[str, Mapping[str, int]]
    ) -> Iterator[Sample]:
        for mark, word in (("!", "negative"), ("#", "stale")):
            metric = self._metric(
                f"{name}.cache.rrsets_{word}", f"RR sets in the cache that are {word}."
            )
            for query_type, count in entries[mark].items():
                yield metric.sample(count, query_type)

    def _view_details(self, name: str, view: View) -> Iterator[Sample]:
        if view.resolver is not None:
            metric = self._metric(
                f"{name}.resolver_events_per_sec",
                "What happened to the resolver's queries, per second, in the words of BIND.",
                label="event",
            )
            events = {event: view.resolver.get(event, 0) for event in RESOLVER_EVENT_NAMES}
            yield from self._per_second(metric, events)
        if view.cache_statistics is not None:
            metric = self._metric(
                f"{name}.cache.memory_bytes", "Memory in use by the cache in bytes.", label="memory"
            )
            for memory, counter in (("tree", "TreeMemInUse"), ("heap", "HeapMemInUse")):
                if counter in view.cache_statistics:
                    yield metric.sample(view.cache_statistics[counter], memory)
            metric = self._metric(
                f"{name}.cache.deletions_per_sec",
                "RR sets removed from the cache per second: `lru` for lack of memory, `ttl` since "
                "they were too old.",
                label="reason",
            )
            deleted = {
                "lru": view.cache_statistics.get("DeleteLRU", 0),
                "ttl": view.cache_statistics.get("DeleteTTL", 0),
            }
            yield from self._per_second(metric, deleted)

    def _per_second(self, metric: Metric, counters: Mapping[str, int]) -> Iterator[Sample]:
        now = self.context.clock.monotonic()
        for name, counter in counters.items():
            rate = self._rates.update((metric.name or "", name), now, (counter,))
            if rate is not None:
                yield metric.sample(rate[0], name)

    def _metric(self, name: str, help: str, *, label: str = "queryType") -> Metric:
        metric = self._view_metrics.get(name)
        if metric is None:
            metric = self._view_metrics[name] = Metric(name, help=help, labels=(label,))
        return metric


def list_urls(url: str, wanted: str) -> list[str]:
    """Return where to look for the statistics, in this order; a URL with a path is the only one."""
    if urlsplit(check_url(url)).path.strip("/"):
        return [url]
    base = check_base_url(url)
    formats = PATHS if wanted == "auto" else {wanted: PATHS[wanted]}
    return [base + path for paths in formats.values() for path in paths]
