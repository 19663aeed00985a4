"""The documentation as a site: strict, offline, a page for each type, a search that finds."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pollect.config.sections import convert_section
from pollect.discovery.registry import Registry
from tests.tools.site import HTML, ROOT, configuration, write_pages
from tests.tools.views import home_assistant_table

COMING_FROM = sorted((ROOT / "docs").glob("from-*.md"))
_FOREIGN = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", re.I)


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.site"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return HTML


@pytest.mark.timeout(300)
def test_every_source_and_writer_has_a_page(site: Path) -> None:
    registry = Registry()
    for kind, types in (("source", registry.sources), ("writer", registry.writers)):
        for name, entry in types.items():
            if entry.distribution.startswith("pollect-"):
                page = site / "types" / kind / f"{name}.html"
                assert entry.spec.summary in page.read_text("utf-8").replace("&#39;", "'"), name


def test_nothing_on_a_page_comes_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        foreign = _FOREIGN.search(page.read_text("utf-8"))
        assert foreign is None or 'rel="canonical"' in foreign[0], f"{page.name}: {foreign}"
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text("utf-8"), sheet.name


def test_the_search_finds_the_source_of_disks_without_a_server(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    found = {
        entry["location"].partition("#")[0]
        for entry in index["docs"]
        if "disk" in (entry["title"] + entry["text"]).lower()
    }
    assert "types/source/DiskUsage.html" in found
    assert (site / "search" / "search_index.js").exists(), "what a page in a folder can load"


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (make services)")
def test_a_browser_that_opens_the_folder_finds_disks(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000"),
            *("--dump-dom", f"file://{site}/index.html?q=disk"),
        ],
        check=False, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert re.search(r"\d+ matching documents", done.stdout)
    assert "types/source/DiskUsage.html?h=disk" in done.stdout


def test_the_page_of_a_source_shows_it_in_prometheus_and_in_home_assistant(site: Path) -> None:
    registry = Registry()
    for name, entry in registry.sources.items():
        if entry.distribution.startswith("pollect-"):
            page = (site / "types" / "source" / f"{name}.html").read_text("utf-8")
            assert 'id="in-prometheus"' in page, name
            assert 'id="in-home-assistant"' in page, name
            first = next(iter(registry.source_type(name).metrics), None)
            assert first is None or f"sensor.home_{name.lower()}" in page


def test_entities_are_those_that_the_discovery_announces() -> None:
    rows = home_assistant_table("MemoryUsage", Registry().source_type("MemoryUsage")).splitlines()
    assert rows[2].startswith("| `sensor.home_memoryusage_type_‹type›` | ‹type› | B | data_size |")
    swap = home_assistant_table("Swap", Registry().source_type("Swap"))
    assert "| `sensor.home_swap_in_bytes_total` | in bytes total | B | data_size |" in swap
    assert "total_increasing" in swap


def test_every_page_is_in_the_navigation() -> None:
    pages = write_pages()
    text = json.dumps(configuration(pages)["nav"])
    assert [str(page) for page in pages if f'"{page}"' not in text] == []


@pytest.mark.parametrize("file", COMING_FROM, ids=lambda file: file.stem)
def test_the_types_in_the_tables_of_other_programs_exist(file: Path) -> None:
    registry = Registry()
    known = {*registry.words("source"), *registry.words("writer")}
    for line in file.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 2:
            continue
        ours = re.findall(r"`([A-Z]\w+)`", cells[1])
        assert set(ours) <= known, line


@pytest.mark.parametrize("file", COMING_FROM, ids=lambda file: file.stem)
def test_the_configs_of_these_pages_are_right(file: Path) -> None:
    registry = Registry()
    for block in file.read_text("utf-8").split("```yaml\n")[1:]:
        config = yaml.safe_load(block.partition("```")[0])
        for executor in config["executors"]:
            for section in executor["sources"]:
                convert_section(registry.source_type(section["type"]).config_type, section)
