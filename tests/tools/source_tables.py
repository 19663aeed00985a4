"""Write the tables of sources into the READMEs: `python -m tests.tools.source_tables`."""

import importlib
import re
from pathlib import Path

from pollect.plugin import SourceSpec

ROOT = Path(__file__).parents[2]
#: README -> the module whose sources its table lists.
TABLES = {
    file: f"{file.parent.name.replace('-', '_')}.plugin"
    for file in sorted(ROOT.glob("pollect-sources-*/README.md"))
}
_TABLE = re.compile(
    r"(?<=<!-- sources: made by `make docs` -->\n).*?(?=<!-- end of sources -->)", re.DOTALL
)


def build_table(module: str) -> str:
    """Return the sources of a plugin module as a Markdown table."""
    specs: list[SourceSpec] = importlib.import_module(module).pollect_sources()
    rows = (f"| `{spec.type}` | {spec.summary} | {_needs(spec)} |\n" for spec in specs)
    return "| Type | What it shows | What it needs |\n|---|---|---|\n" + "".join(rows)


def renew(text: str, module: str) -> str:
    """Return a README with its table renewed; raises `ValueError` if it has no place for one."""
    renewed, count = _TABLE.subn(lambda _: build_table(module), text)
    if count != 1:
        raise ValueError(f"expected one table of sources, found {count}")
    return renewed


def _needs(spec: SourceSpec) -> str:
    needs = [
        *(["Linux"] if spec.platforms else []),
        *([f"extra `{spec.extra}`"] if spec.extra else []),
        *(
            f"`{program.name}` (Debian: {program.package}){', if it is there' * program.optional}"
            for program in spec.needs.programs
        ),
        *spec.needs.words(),
    ]
    return "; ".join(needs)


if __name__ == "__main__":
    for file, module in TABLES.items():
        file.write_text(renew(file.read_text("utf-8"), module), "utf-8")
