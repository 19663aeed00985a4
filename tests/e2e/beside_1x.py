"""Runs 1.x beside pollect, and compares their series."""

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import scrape, start

#: For some ticks of one second, on a busy machine.
ENOUGH_SECONDS = 30.0
OLD_PYTHON = Path(".bench/1x/bin/python").absolute()


LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Series = set[tuple[str, tuple[tuple[str, str], ...]]]


def needs_1x(*libraries: str) -> pytest.MarkDecorator:
    """Return the mark of a test that runs 1.x with sources that import these libraries."""
    wanted = [name.replace(".", "/") for name in ("pollect", *libraries)]
    found = any(
        all((folder / name).is_dir() for name in wanted)
        for folder in OLD_PYTHON.parents[1].glob("lib/python*/site-packages")
    )
    reason = "pollect 1.x and its libraries are not in .bench/1x; `make test` puts them there"
    return pytest.mark.skipif(not found, reason=reason)


@contextlib.contextmanager
def old_pollect(config: Path, *, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run 1.x on a config, in the folder of it: some sources leave files where they run."""
    process = subprocess.Popen(
        [OLD_PYTHON, "-m", "pollect.Pollect", "--config", config],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=config.parent,
        env={**os.environ, **(environ or {})},
    )
    try:
        yield
    finally:
        process.kill()  # it has nothing to lose, and some of its threads never end
        process.wait()


def series_of(port: int) -> Series:
    """Return the series as they are written; parsers append `_total` to the names of counters."""
    lines = [line for line in scrape(port).splitlines() if not line.startswith("#")]
    series = (line.rpartition(" ")[0].partition("{") for line in lines)
    return {(name, tuple(sorted(LABEL.findall(labels)))) for name, _, labels in series}


def values_of(port: int) -> dict[str, float]:
    """Return the values by their series as they are written, labels sorted by name."""
    lines = [line for line in scrape(port).splitlines() if not line.startswith("#")]
    found: dict[str, float] = {}
    for series, _, value in (line.rpartition(" ") for line in lines):
        name, _, labels = series.partition("{")
        pairs = ",".join(f'{label}="{text}"' for label, text in sorted(LABEL.findall(labels)))
        found[f"{name}{{{pairs}}}"] = float(value)
    return found


def collect_until(port: int, complete: Callable[[Series], bool]) -> Series:
    """Scrape until `complete` or for some seconds; a rate takes two probes."""
    latest: Series = set()

    def scraped() -> bool:
        nonlocal latest
        with contextlib.suppress(OSError):
            latest = series_of(port)
        return complete(latest)

    with contextlib.suppress(AssertionError):
        wait_until(scraped, limit_seconds=ENOUGH_SECONDS)
    return latest


def of_sources(found: Series) -> Series:
    """Return the series of a collection that is called `net`."""
    return {series for series in found if series[0].startswith("net_")}


def check_that_none_is_missing(config: Path, port: int, expected: Series) -> None:
    """Run pollect until it shows the series of 1.x, and name those that it does not."""
    with start("run", "-c", config, folder=config.parent):
        found = collect_until(port, under_our_python(expected).issubset)
    missing = sorted(under_our_python(expected) - found)
    assert not missing, missing


def under_our_python(series: Series) -> Series:
    """Return the series of 1.x as they were if our interpreter, maybe another one, ran it."""
    major, minor, patch = platform.python_version_tuple()
    own = {
        "implementation": platform.python_implementation(),
        "major": major,
        "minor": minor,
        "patchlevel": patch,
        "version": platform.python_version(),
    }
    return {
        (name, tuple((key, own[key]) for key, _ in labels) if name == "python_info" else labels)
        for name, labels in series
    }
