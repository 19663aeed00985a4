"""Statuses to be shown, made by hand, and a writer that shows one."""

from collections.abc import Callable
from typing import Any

import msgspec

from pollect.api import Curve, DaemonStatus, SourceDetail, SourceSummary, Status, Strip, Value
from pollect.model import Reload
from pollect.status import Counts, Glance, Option, WriterSummary
from pollect_writers.prometheus.endpoint import Endpoint

NOW = 1_795_000_000.0


def daemon(**facts: Any) -> DaemonStatus:
    given = {
        "host": "attic",
        "version": "2.0.0",
        "pid": 1,
        "config": "/etc/pollect/config.yml",
        "state_dir": "/var/lib/pollect",
        "started": NOW - 3700,
        "now": NOW,
        "last_reload": Reload(time=NOW - 3700, successful=True),
        **facts,
    }
    return DaemonStatus(**given)


def strip(*cells: str) -> Strip:
    return Strip(cell_seconds=60.0, cells=["none"] * (60 - len(cells)) + list(cells))  # type: ignore[arg-type]


def source(id: str = "home/Plex", state: str = "up", **facts: Any) -> SourceSummary:
    collection, type_name, *name = id.split("/", 2)
    given = {
        "id": id,
        "collection": collection,
        "type": type_name,
        "name": name[0] if name else None,
        "state": state,
        "outcome": "ok",
        "reason": "",
        "troubles": (),
        "trouble_count": 0,
        "since": NOW - 90061,
        "last_probe": NOW - 4,
        "next_probe": NOW + 6,
        "duration_seconds": 0.0123,
        "interval": 10.0,
        "series": 3,
        "glance": [Glance(title="streams", text="3", value=3.0, unit="")],
        "curve": Curve(times=[NOW - 20, NOW - 10, NOW], values=[1.0, None, 3.0]),
        "strip": strip("up", state if state in ("troubled", "down") else "up"),
        **facts,
    }
    return SourceSummary(**given)


def writer(name: str = "Mqtt", state: str = "up", **facts: Any) -> WriterSummary:
    given = {
        "name": name,
        "type": name,
        "state": state,
        "reason": "",
        "written": 10,
        "waiting": 0,
        "lost": 0,
        "strip": strip("up"),
        **facts,
    }
    return WriterSummary(**given)


def status(*sources: SourceSummary, writers: Any = (), **facts: Any) -> Status:
    states: list[str] = [one.state for one in sources]
    counts = {state: states.count(state) for state in Counts.__struct_fields__}
    return Status(
        daemon=daemon(**facts),
        counts=Counts(**counts),
        sources=list(sources),
        writers=list(writers),
    )


def value(name: str, number: float | None = 1.0, **facts: Any) -> Value:
    given = {
        "metric": f"home_Plex_{name}",
        "name": name,
        "labels": {},
        "help": "What it is.",
        "kind": "gauge",
        "unit": "B",
        "value": number,
        "text": "1 B",
        "curve_unit": "bytes",
        "minimum": 0.0,
        "mean": 1.0,
        "maximum": 2.0,
        "curve": Curve(times=[NOW - 20, NOW - 10, NOW], values=[0.0, 2.0, 1.0]),
        **facts,
    }
    return Value(**given)


def detail(summary: SourceSummary | None = None, **facts: Any) -> SourceDetail:
    given = {
        "daemon": daemon(),
        "summary": summary or source(),
        "probes": {"ok": 7, "timed_out": 2},
        "skipped": 1,
        "last_success": NOW - 4,
        "last_failure": NOW - 400,
        "last_error": "no answer within 10 s",
        "plugin": "pollect-sources-home 2.0.0",
        "options": [Option(name="token", value="***", default=False)],
        "values": [value("bytes")],
        "values_left_out": 0,
        **facts,
    }
    return SourceDetail(**given)


def showing(
    endpoint: Endpoint[Any],
    *,
    shown: Status | None = None,
    details: dict[str, SourceDetail] | None = None,
    probe_now: Callable[[str], bool] = lambda source: False,
) -> Any:
    """Return a writer like `endpoint` that shows these."""
    context = msgspec.structs.replace(
        endpoint.context,
        status=lambda: shown,
        source_detail=(details or {}).get,
        probe_now=probe_now,
    )
    return type(endpoint)(endpoint.config, context)
