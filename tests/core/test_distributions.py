"""What the pyproject files of the six distributions have in common."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {
    file.parent.name: tomllib.loads(file.read_text("utf-8"))["project"]
    for file in sorted(ROOT.glob("pollect-*/pyproject.toml"))
}
PLUGINS = [name for name in PROJECTS if name != "pollect-core"]


@pytest.mark.parametrize("name", PLUGINS)
def test_the_extra_all_stands_for_every_other_extra(name: str) -> None:
    extras = dict(PROJECTS[name].get("optional-dependencies", {}))
    (line,) = extras.pop("all")
    assert line == (f"{name}[{','.join(sorted(extras))}]" if extras else name)


def test_all_distributions_have_one_version() -> None:
    assert len({project["version"] for project in PROJECTS.values()}) == 1
