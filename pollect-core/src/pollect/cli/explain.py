"""`pollect explain`: where a metric comes from, and where it goes."""

import json

import click
import msgspec

from pollect.cli.running import daemon_option, folder_of
from pollect.cli.session import Session, log_options
from pollect.daemon.control import ask
from pollect.human import format_quantity, format_span
from pollect.status import Explanation, SourceSummary, WriterSummary
from pollect.text import visible_text

#: Series whose values are listed.
MOST_VALUES = 20
#: Names of metrics that are listed in place of one that is not there.
MOST_NAMES = 10


@click.command()
@click.argument("metric")
@daemon_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@log_options
@click.pass_obj
def explain(session: Session, metric: str, config_name: str | None, as_json: bool) -> int:
    """Show where a METRIC comes from, when it was read, and what its writers did with it.

    METRIC is a name as in Prometheus: pollect_DiskUsage or home_Http_web_success.
    """
    session.start_command_log()
    answer = ask(folder_of(config_name), "explain", metric=metric)
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        print(visible_text(format_explanation(msgspec.convert(answer, Explanation))))
    return 0


def format_explanation(found: Explanation) -> str:
    """Return it as text."""
    detail = found.source
    source, now = detail.summary, detail.daemon.now
    line = "" if found.line is None else f":{found.line}"
    facts = [
        ("source", f"{source.id} ({detail.plugin})"),
        ("config", f"{detail.daemon.config}{line} ({found.place})"),
        ("state", _state(source)),
        ("last probe", _last_probe(source, now)),
        ("next probe", _due(source, now)),
        ("filter", _filter(found)),
    ]
    if found.filters:
        facts.append(("plugins' filters", ", ".join(found.filters)))
    if detail.last_error and detail.last_failure is not None:
        ago = format_span(now - detail.last_failure)
        facts.append(("last error", f"{detail.last_error} ({ago} ago)"))
    facts += [(f"writer {writer.name}", _writer(writer)) for writer in found.writers]
    width = max(len(name) for name, _ in facts) + 2
    lines = [found.metric, *(f"  {name:<{width}}{text}" for name, text in facts)]
    if not found.values:
        lines.append(f"  no values now{_others(found)}")
    for value in found.values[:MOST_VALUES]:
        labels = ", ".join(f"{name}={text}" for name, text in value.labels.items())
        lines.append(f"  {labels or 'value'}: {value.text or 'gone'}")
    if len(found.values) > MOST_VALUES:
        lines.append(f"  and {len(found.values) - MOST_VALUES} more")
    return "\n".join(lines)


def _others(found: Explanation) -> str:
    """Return what else its source has: the name may be a part of one of those."""
    names = list(dict.fromkeys(value.metric for value in found.source.values))
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f" under this name; the source has {', '.join(names[:MOST_NAMES])}{more}"


def _state(source: SourceSummary) -> str:
    reasons = [source.reason] if source.reason else list(source.troubles)
    return ": ".join([source.state, *(["; ".join(reasons)] if reasons else [])])


def _last_probe(source: SourceSummary, now: float) -> str:
    if source.last_probe is None:
        return "none has ended yet"
    took = format_quantity(source.duration_seconds or 0.0, "seconds")
    outcome = (source.outcome or "").replace("_", " ")
    return f"{format_span(now - source.last_probe)} ago, {outcome}, took {took}"


def _due(source: SourceSummary, now: float) -> str:
    every = f"every {format_quantity(source.interval, 'seconds')}"
    if source.next_probe is None:
        return every
    return f"in {format_span(max(0.0, source.next_probe - now))}, {every}"


def _filter(found: Explanation) -> str:
    parts = []
    if found.include:
        parts.append(f"include {', '.join(found.include)}")
    if found.exclude:
        parts.append(f"exclude {', '.join(found.exclude)}")
    return "; ".join(parts) or "none"


def _writer(writer: WriterSummary) -> str:
    numbers = f"{writer.written:,} written, {writer.waiting:,} waiting, {writer.lost:,} lost"
    return f"{writer.state}{f': {writer.reason}' if writer.reason else ''} ({numbers})"
