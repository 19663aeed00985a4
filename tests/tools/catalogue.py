"""Write the catalogue of pollect's own types: `python -m tests.tools.catalogue`."""

import importlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from pollect.discovery.catalogue import FILE, write_entry
from pollect.discovery.entry import Entry

ROOT = Path(__file__).parents[2]


def build_catalogue() -> str:
    """Return the text of the catalogue, made of the plugin modules and pyproject files."""
    projects = {}
    for pyproject in sorted(ROOT.glob("pollect-*/pyproject.toml")):
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        projects[project["name"]] = project
    distributions = {}
    entries = []
    for name, project in projects.items():
        extras = project.get("optional-dependencies", {})
        distributions[name] = {
            "requires": _third_party(project["dependencies"], projects),
            "extras": {extra: _third_party(lines, projects) for extra, lines in extras.items()},
        }
        for module_name in project["entry-points"]["pollect.plugins"].values():
            entries += _entries(name, importlib.import_module(module_name))
    # Whatever has a type depends on the core, whose own requirements are no news to anybody.
    distributions["pollect-core"]["requires"] = []
    entries.sort(key=lambda entry: (entry.distribution, entry.kind, entry.spec.type))
    data = {"distributions": distributions, "types": [write_entry(entry) for entry in entries]}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _third_party(lines: list[str], projects: Mapping[str, Any]) -> list[str]:
    """Put what an extra of pollect's own stands for in its place."""
    found = []
    for line in lines:
        requirement = Requirement(line)
        project = projects.get(requirement.name)
        if project is None:
            found.append(line)
            continue
        for extra in sorted(requirement.extras):
            found += project["optional-dependencies"][extra]
    return found


def _entries(distribution: str, plugin: Any) -> list[Entry]:
    offers = [getattr(plugin, name, list) for name in ("pollect_sources", "pollect_writers")]
    return [Entry(spec, distribution) for offer in offers for spec in offer()]


if __name__ == "__main__":
    FILE.write_text(build_catalogue(), encoding="utf-8")
