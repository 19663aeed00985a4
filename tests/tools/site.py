"""Build the documentation as a site: `make site`, into `.site/html`.

The pages are those of docs/, the READMEs, and one page for each source and writer that is made from
the code. mkdocs runs in strict mode, so a link that leads nowhere fails, and nothing on a page is
fetched from another host: it works from a folder without a network, search included.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pollect.api import Source
from pollect.cli.manual import write_manual
from pollect.discovery.entry import Entry, Kind
from pollect.discovery.registry import Registry
from tests.tools.views import COLLECTION, home_assistant_table, prometheus_table

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".site"
PAGES = SITE / "src"
HTML = SITE / "html"
#: Pages of docs/ in the order of the navigation; the others follow under "More".
SECTIONS = {
    "Start": ["index.md", "from-1x.md", "from-telegraf.md", "from-collectd.md"],
    "Configure": [
        "configuring.md",
        "data-models.md",
        "prometheus.md",
        "mqtt.md",
        "targets.md",
        "fleet.md",
        "transports.md",
    ],
    "Operate": [
        "command-line.md",
        "alerts.md",
        "grafana.md",
        "operating.md",
        "compatibility.md",
        "changelog.md",
    ],
    "Write plugins": ["plugins.md", "architecture.md", "reference.md"],
}
_TITLES = {
    "pollect-sources-system": "This host",
    "pollect-sources-network": "Network",
    "pollect-sources-home": "Home",
    "pollect-sources-cloud": "Cloud",
}
FAMILIES = {
    **_TITLES,
    **{
        file.parent.name: file.parent.name.removeprefix("pollect-sources-").capitalize()
        for file in sorted(ROOT.glob("pollect-sources-*/pyproject.toml"))
        if file.parent.name not in _TITLES
    },
    "pollect-core": "Core",
    "pollect-writers": "Writers",
}
#: Lets the search work on pages opened from a folder; the theme would fetch another one.
SEARCH_FRAME = "assets/iframe-worker.js"
_LINK = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")


def write_pages() -> list[Path]:
    """Write every page as Markdown; return them relative to their folder."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for file in (ROOT / "docs").glob("*.md"):
        _write(file.name, file.read_text("utf-8"), file)
    for file in (ROOT / "docs").iterdir():
        if file.suffix in (".png", ".svg", ".json"):
            shutil.copy(file, PAGES / file.name)
    (PAGES / "assets").mkdir()
    shutil.copy(Path(__file__).with_name("search_frame.js"), PAGES / SEARCH_FRAME)
    _write("index.md", (ROOT / "README.md").read_text("utf-8"), ROOT / "README.md")
    _write("changelog.md", (ROOT / "CHANGELOG.md").read_text("utf-8"), ROOT / "CHANGELOG.md")
    for distribution in FAMILIES:
        readme = ROOT / distribution / "README.md"
        _write(f"families/{distribution}.md", readme.read_text("utf-8"), readme)
    for entry, text in type_pages():
        _write(f"types/{entry.kind}/{entry.spec.type}.md", text, ROOT / "docs" / "x.md")
    return sorted(file.relative_to(PAGES) for file in PAGES.rglob("*.md"))


def type_pages() -> Iterator[tuple[Entry, str]]:
    """Yield the page of each source and writer of pollect's own distributions."""
    registry = Registry()
    for kind in ("source", "writer"):
        for entry in registry.words(kind).values():
            if entry.distribution in FAMILIES and entry.spec.type in _names(registry, kind):
                plugin = entry.spec.load()
                page = _type_page(entry, write_manual(entry, plugin))
                views = _views(entry, plugin) if issubclass(plugin, Source) else ""
                yield entry, page + views


def _names(registry: Registry, kind: Kind) -> frozenset[str]:
    return frozenset(registry.sources if kind == "source" else registry.writers)


def _type_page(entry: Entry, manual: str) -> str:
    spec = entry.spec
    command = f"pip install '{entry.distribution}{f'[{spec.extra}]' if spec.extra else ''}'"
    _, _, body = manual.partition("\n")
    # Whether it is ready on the machine that builds the site is of no interest to readers.
    body = re.sub(r"^Requirements\n(  State: .*\n)", "Requirements\n", body.strip(), flags=re.M)
    return (
        f"# {spec.type}\n\n{spec.summary}.\n\n```console\n$ {command}\n```\n\n"
        f"```text\n{body}\n```\n\n"
        f"More about it: [{entry.distribution}](../../families/{entry.distribution}.md).\n"
    )


def _views(entry: Entry, source: type[Source[Any]]) -> str:
    """Return what the values of a source look like where they arrive."""
    parts = ["\n## In Prometheus\n"]
    if source.metrics:
        parts.append(f"In the collection `{COLLECTION}`:\n")
        parts.append(prometheus_table(entry.spec.type, source) + "\n")
    if source.dynamic_metrics:
        parts.append("More values come from the config or from what is read.\n")
    if scrape := _example_of_a_scrape(entry):
        parts.append(f"For example:\n\n```text\n{scrape}\n```\n")
    parts.append("## In Home Assistant\n")
    link = "../../mqtt.md#home-assistant"
    parts.append(f"What the writer `Mqtt` [announces]({link}):\n")
    if source.metrics:
        parts.append(home_assistant_table(entry.spec.type, source) + "\n")
    if source.dynamic_metrics:
        parts.append("One sensor for each further value, with its unit where it has one.\n")
    return "\n".join(parts)


def _example_of_a_scrape(entry: Entry) -> str:
    """Return a scrape of the source, where a test keeps one."""
    stem = entry.spec.type
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem).lower()
    found = [
        file
        for folder in ROOT.glob("tests/*/golden")
        for file in sorted(folder.glob("*.txt"))
        if file.stem in (snake, stem.lower()) or file.stem.partition("_")[0] == stem
    ]
    return "\n".join(found[0].read_text("utf-8").splitlines()[:60]) if found else ""


def _write(name: str, text: str, origin: Path) -> None:
    """Write a page, its links turned from files of the repository into pages of the site."""
    page = PAGES / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_LINK.sub(lambda link: _page_link(link[1], origin, page), text), "utf-8")


def _page_link(target: str, origin: Path, page: Path) -> str:
    path, hash_mark, anchor = target.partition("#")
    file = (origin.parent / path).resolve()
    place = _place_of(file)
    if place is None:
        # A file of the repository that is no page: there is nothing to lead to.
        return "](" + os.path.relpath(PAGES / "index.md", page.parent) + ")"
    return "](" + os.path.relpath(PAGES / place, page.parent) + hash_mark + anchor + ")"


def _place_of(file: Path) -> str | None:
    if file == ROOT / "README.md":
        return "index.md"
    if file == ROOT / "CHANGELOG.md":
        return "changelog.md"
    if file.parent == ROOT / "docs" and file.exists():
        return file.name
    if file.name == "README.md" and file.parent.name in FAMILIES:
        return f"families/{file.parent.name}.md"
    return None


def navigation(pages: list[Path]) -> list[dict[str, object]]:
    """Return the navigation for mkdocs: sections, then a page for each type by family."""
    names = {str(page) for page in pages}
    placed = {name for section in SECTIONS.values() for name in section}
    nav: list[dict[str, object]] = [
        {title: [name for name in section if name in names]} for title, section in SECTIONS.items()
    ]
    registry = Registry()
    for distribution, title in FAMILIES.items():
        types = [
            f"types/{entry.kind}/{entry.spec.type}.md"
            for kind in ("source", "writer")
            for entry in registry.words(kind).values()
            if entry.distribution == distribution
        ]
        listed = sorted(set(types) & names)
        nav.append({title: [f"families/{distribution}.md", *listed]})
    others = sorted(n for n in names if "/" not in n and n not in placed)
    return [*nav, {"More": others}] if others else nav


def configuration(pages: list[Path]) -> dict[str, object]:
    """Return what mkdocs is to do."""
    return {
        "site_name": "pollect",
        "docs_dir": str(PAGES),
        "site_dir": str(HTML),
        "use_directory_urls": False,
        "strict": True,
        "theme": {
            "name": "material",
            # Fonts would come from another host.
            "font": False,
            "features": ["navigation.indexes", "search.highlight", "content.code.copy"],
            "palette": [
                {
                    "media": "(prefers-color-scheme: light)",
                    "scheme": "default",
                    "toggle": {"icon": "material/weather-sunny", "name": "Light"},
                },
                {
                    "media": "(prefers-color-scheme: dark)",
                    "scheme": "slate",
                    "toggle": {"icon": "material/weather-night", "name": "Dark"},
                },
            ],
        },
        "extra": {"generator": False, "polyfills": [SEARCH_FRAME]},
        "plugins": ["search", "offline"],
        "markdown_extensions": ["tables", "fenced_code", "toc"],
        "nav": navigation(pages),
    }


def main() -> int:
    """Build the site; return mkdocs' exit code."""
    pages = write_pages()
    config = SITE / "mkdocs.yml"
    config.write_text(yaml.safe_dump(configuration(pages), sort_keys=False), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean"]
    done = subprocess.run(
        [*command, "--config-file", str(config)],
        # What its theme says of other projects is no part of building ours.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"},
        check=False,
    )
    if done.returncode == 0:
        print(f"{len(pages)} pages in {HTML.relative_to(ROOT)}/index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
