"""What the distributions have in common, and where each has to be named."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {
    file.parent.name: tomllib.loads(file.read_text("utf-8"))["project"]
    for file in sorted(ROOT.glob("pollect-*/pyproject.toml"))
}
PLUGINS = [name for name in PROJECTS if name != "pollect-core"]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]


@pytest.mark.parametrize("name", PLUGINS)
def test_the_extra_all_stands_for_every_other_extra(name: str) -> None:
    extras = dict(PROJECTS[name].get("optional-dependencies", {}))
    (line,) = extras.pop("all")
    assert line == (f"{name}[{','.join(sorted(extras))}]" if extras else name)


def test_all_distributions_have_one_version() -> None:
    assert len({project["version"] for project in PROJECTS.values()}) == 1
    assert {read_version(name) for name in PROJECTS} == {PROJECTS["pollect-core"]["version"]}


def read_version(name: str) -> str:
    """Return the version that the package of a distribution states."""
    for file in (*package_of(name).glob("__init__.py"), *package_of(name).glob("version.py")):
        if found := re.search(r'^__version__ = "(.+)"$', file.read_text("utf-8"), re.MULTILINE):
            return found[1]
    return ""


def package_of(name: str) -> Path:
    return ROOT / name / "src" / ("pollect" if name == "pollect-core" else name.replace("-", "_"))


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_has_its_files_and_tests(name: str) -> None:
    tests = "core" if name == "pollect-core" else name.removeprefix("pollect-").replace("-", "_")
    wanted = (
        ROOT / name / "LICENSE",
        ROOT / name / "README.md",
        package_of(name) / "__init__.py",
        package_of(name) / "py.typed",
        ROOT / "tests" / tests,
    )
    assert [str(path.relative_to(ROOT)) for path in wanted if not path.exists()] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_an_entry_point_leads_to_the_table_of_contents_of_its_family(name: str) -> None:
    package = package_of(name).name
    short = package.rpartition("_")[2]
    assert PROJECTS[name]["entry-points"]["pollect.plugins"] == {short: f"{package}.plugin"}
    assert (package_of(name) / "plugin.py").is_file()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_is_named_wherever_all_are_listed(name: str) -> None:
    assert package_of(name).name in TOOLS["ruff"]["lint"]["isort"]["known-first-party"]
    assert f"{name}/src" in TOOLS["mypy"]["mypy_path"].split(":")
    assert re.search(rf"^\| \[?`{name}`", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_family_is_in_the_image_and_in_the_table_of_the_core(name: str) -> None:
    containerfile = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
    families = re.search(r'^ARG FAMILIES="(.*)"$', containerfile, re.MULTILINE)
    assert families
    assert name in families[1].split()
    assert f"\n| {name} |" in (ROOT / "pollect-core" / "README.md").read_text("utf-8")
