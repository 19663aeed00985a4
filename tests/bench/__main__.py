"""Run the bench: all parts but the longest, or those named on the command line."""

import compileall
import importlib
import os
import platform
import sys
from pathlib import Path

from tests.bench.table import format_table

PARTS = {
    "daemons": "six sources at a 1 s tick",
    "series": "one source of many series at a 5 s tick",
    "lateness": "the engine",
    "many": "many sources in one executor, at a 10 s tick",
    "targets": "an inventory of 10,000 targets at a 30 s tick",
    "page": "the page and the history behind it",
    "writers": "remote writers",
    "delivery": "probes beside remote writers that cannot deliver, 100 sources at a 0.2 s tick",
    "snmp": "SNMP agents",
    "http": "Http checks against nginx",
    "cloud": "cloud sources, at their first values",
    "home": "home sources at a 10 s tick",
    "commands": "commands",
    "endurance": "20 minutes with failing sources, peers that restart and reloads",
}
#: Takes as long as all others together, so it runs only when it is named.
LONG = {"endurance"}


def main() -> int:
    wanted = sys.argv[1:] or [name for name in PARTS if name not in LONG]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"unknown part {unknown[0]!r}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    # Whoever installs with pip has compiled modules; compiling takes 0.4 s and 4 MB at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for sources in Path().glob("pollect-*/src"):
        compileall.compile_dir(sources, quiet=1)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    for name in wanted:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        part = importlib.import_module(f"tests.bench.{name}")
        print(f"\n{format_table(PARTS[name], part.run())}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
