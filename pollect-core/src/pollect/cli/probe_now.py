"""`pollect probe --now`: lets the running daemon probe a source out of its turn."""

import json
import sys
from collections.abc import Sequence

import click
import msgspec

from pollect.cli.running import folder_of
from pollect.cli.table import format_table
from pollect.daemon.control import ask
from pollect.status import ProbeAnswer
from pollect.text import visible_text


def probe_now(words: Sequence[str], config_name: str | None, *, as_json: bool) -> int:
    """Ask for a probe of the one source in `words`, print its values; return the exit code."""
    if len(words) != 1:
        raise click.UsageError(f"with --now expected one SOURCE, got {len(words)}")
    answer = ask(folder_of(config_name), "probe", source=words[0])
    found = msgspec.convert(answer, ProbeAnswer)
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(found)
    return 0 if found.healthy else 1


def _print(found: ProbeAnswer) -> None:
    rows = [
        (
            value.metric,
            ", ".join(f"{name}={text}" for name, text in value.labels.items()),
            value.text,
        )
        for value in found.source.values
        if value.value is not None
    ]
    if rows:
        print(format_table(("NAME", "LABELS", "VALUE"), rows, right="VALUE"))
    reasons = [*found.troubles, *([found.error] if found.error else [])]
    word = found.outcome.replace("_", " ")
    if reasons or not rows:
        sys.stdout.flush()
        for reason in reasons or [""]:
            text = f"{found.source.summary.id}: {word}{': ' if reason else ''}{reason}"
            print(visible_text(text), file=sys.stderr)
