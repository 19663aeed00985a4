"""What `make release` does to the files of a checkout, and that builds are reproducible."""

import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.tools.release import (
    ROOT,
    ReleaseError,
    build,
    compare,
    format_section,
    projects,
    raise_version,
    read_fragments,
    write_changelog,
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that a release changes, copied."""
    for project in projects():
        copy = tmp_path / project.name
        modules = [file.relative_to(project) for file in project.glob("src/*/*.py")]
        for file in (Path("pyproject.toml"), *modules):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / file, copy / file)
    shutil.copytree(ROOT / "deploy" / "chart", tmp_path / "deploy" / "chart")
    shutil.copytree(ROOT / "changelog.d", tmp_path / "changelog.d")
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    return tmp_path


def test_a_release_raises_all_versions_and_what_they_ask_of_each_other(checkout) -> None:
    raise_version(checkout, "2.7.1")
    files = sorted(checkout.glob("pollect-*/pyproject.toml"))
    assert len(files) >= 6
    for file in files:
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        assert project["version"] == "2.7.1"
        for line in project["dependencies"]:
            if line.startswith("pollect-core"):
                assert line.endswith("~=2.7")
    modules = [*checkout.glob("pollect-*/src/*/__init__.py"), *checkout.glob("*/src/*/version.py")]
    versions = {
        line for m in modules for line in m.read_text().splitlines() if "__version__ =" in line
    }
    assert versions == {'__version__ = "2.7.1"'}
    chart = yaml.safe_load((checkout / "deploy" / "chart" / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == "2.7.1"


@pytest.mark.parametrize("version", ["2", "2.1", "v2.1.0", "2.1.0-rc1", ""])
def test_what_is_not_a_version_is_refused(checkout, version) -> None:
    with pytest.raises(ReleaseError, match=r"expected a version such as 2\.1\.0"):
        raise_version(checkout, version)


def test_the_fragments_become_the_newest_section_of_the_changelog(checkout) -> None:
    fragments = {
        kind: list(texts)
        for kind, texts in read_fragments((checkout / "changelog.d").glob("*.md")).items()
    }
    write_changelog(checkout, "2.7.1", "2027-01-02")
    text = (checkout / "CHANGELOG.md").read_text("utf-8")
    assert text.startswith("# Changelog\n")
    assert text.index("## 2.7.1 (2027-01-02)") < text.index("\n## 2.0.0")
    for kind, texts in fragments.items():
        assert all(sentence in text for sentence in texts), kind
    assert list((checkout / "changelog.d").glob("*.md")) == []


def test_a_section_has_a_heading_only_for_what_there_is() -> None:
    section = format_section(
        "2.7.1", "2027-01-02", {"fixed": ["Http: a.", "Ping: b."], "added": []}
    )
    assert section == "## 2.7.1 (2027-01-02)\n\n### Fixed\n\n- Http: a.\n- Ping: b.\n"


@pytest.mark.parametrize("name", ["notes.md", "11-x.mended.md"])
def test_a_fragment_of_an_unknown_kind_is_refused_by_its_name(tmp_path, name) -> None:
    (tmp_path / name).write_text("Http: something.")
    with pytest.raises(ReleaseError, match=f"changelog.d/{name}: expected"):
        read_fragments(tmp_path.glob("*.md"))


def test_every_fragment_of_this_checkout_is_one_a_release_accepts() -> None:
    read_fragments((ROOT / "changelog.d").glob("*.md"))


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_building_twice_gives_the_same_bytes(tmp_path, monkeypatch) -> None:
    pytest.importorskip("build", reason="only the environment of `make test` has what builds")
    monkeypatch.setattr("tests.tools.release.projects", lambda: [ROOT / "pollect-sources-cloud"])
    for folder in ("first", "second"):
        build(tmp_path / folder, "1790000000")
    compare(tmp_path / "first", tmp_path / "second")
    assert len(list((tmp_path / "first").iterdir())) == 2


def test_a_build_that_differs_is_an_error_that_names_the_file(tmp_path) -> None:
    for folder, text in (("first", "a"), ("second", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.whl").write_text(text)
    with pytest.raises(ReleaseError, match=r"not the same: x\.whl"):
        compare(tmp_path / "first", tmp_path / "second")


@pytest.mark.parametrize("project", projects(), ids=lambda folder: folder.name)
def test_metadata_is_complete(project) -> None:
    facts = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"Homepage", "Documentation", "Issues", "Changelog"} <= set(facts["urls"])
    assert facts["authors"]
    assert any(c.startswith("Programming Language :: Python :: 3.13") for c in facts["classifiers"])
    assert facts["license-files"] == ["LICENSE"]
    assert (project / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
