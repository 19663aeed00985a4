"""Golden expositions: what a source brings, as text that is reviewed when it changes.

def test_rain_gauge_exposition(golden):
    with serve_http({"/status": "tips=10 temp=215"}) as gauge:
        source = build_source({"host": gauge.address}, RainGaugeSource)
        golden("rain_gauge.txt", format_samples(source, probe(source)))
"""

import difflib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from pollect.model import Metric, Sample
from pollect.plugin import Source


def format_samples(source: Source[Any], samples: Iterable[Sample]) -> str:
    """Return samples as readable text, sorted, in the manner of a Prometheus exposition.

    Every metric comes with its help, kind and unit; names are those of the Prometheus writer as
    long as they hold no odd characters.
    """
    base = source.context.id.dotted.replace(".", "_").replace("-", "_")
    ordered = sorted(samples, key=lambda sample: (_order(sample.metric), sample.label_values))
    lines: list[str] = []
    for metric, group in groupby(ordered, key=lambda sample: sample.metric):
        name = base if metric.name is None else f"{base}_{metric.name}"
        unit = f" [{metric.unit}]" if metric.unit else ""
        lines += [f"# HELP {name} {metric.help}{unit}", f"# TYPE {name} {metric.kind.value}"]
        for sample in group:
            pairs = zip(metric.labels, sample.label_values, strict=True)
            labels = ",".join(f'{label}="{value}"' for label, value in pairs)
            lines.append(
                f"{name}{{{labels}}} {sample.value!r}" if labels else f"{name} {sample.value!r}"
            )
    return "\n".join(lines) + "\n"


def compare_with_file(file: Path, text: str, *, renew: bool = False) -> None:
    """Demand that `file` holds `text`; with `renew` write it instead.

    Raises `AssertionError` with the difference.
    """
    if renew:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    if not file.exists():
        raise AssertionError(f"{file} does not exist; run pytest with --renew-golden to write it")
    expected = file.read_text(encoding="utf-8")
    if text != expected:
        difference = difflib.unified_diff(
            expected.splitlines(), text.splitlines(), str(file), "now", lineterm=""
        )
        raise AssertionError(
            "\n".join(["the text has changed (--renew-golden keeps it):", *difference])
        )


def _order(metric: Metric) -> tuple[str, tuple[str, ...]]:
    return metric.name or "", metric.labels
