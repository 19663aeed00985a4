"""What the registry promises about plugins, good ones and broken ones."""

import json
import sys
from pathlib import Path

import pytest

from pollect.discovery.catalogue import Catalogue
from pollect.discovery.entry import Kind
from pollect.discovery.registry import Registry
from pollect.errors import DuplicatePlugin, MissingDependency, PluginLoadError, UnknownPlugin
from tests.tools.distributions import write_distribution

TIDE_PLUGIN = """
from pollect.api import SourceSpec, hookimpl

@hookimpl
def pollect_sources():
    return [SourceSpec("Tide", "tide_source:TideSource", summary="Height of the tide",
                       aliases=("Ebb",), extra="sonar")]
"""
TIDE_SOURCE = """
from pollect.api import Source

class TideSource(Source):
    "Height of the tide."
"""
TIDE = {"tide_plugin.py": TIDE_PLUGIN, "tide_source.py": TIDE_SOURCE}


def test_type_of_a_third_party_is_known_without_importing_its_class(site: Path) -> None:
    write_distribution(site, "pollect-tide", modules=TIDE, plugin="tide_plugin")
    entry = Registry().sources["Tide"]
    assert (entry.origin, entry.entry_point) == ("pollect-tide 1.0", "main")
    assert entry.spec.summary == "Height of the tide"
    assert "tide_source" not in sys.modules


def test_class_is_imported_when_it_is_named(site: Path) -> None:
    write_distribution(site, "pollect-tide", modules=TIDE, plugin="tide_plugin")
    registry = Registry()
    assert registry.source_type("Tide").__module__ == "tide_source"
    assert registry.source_type("Ebb") is registry.source_type("Tide")


def test_plugin_may_return_the_class_itself(site: Path) -> None:
    plugin = (
        TIDE_SOURCE
        + "\nfrom pollect.api import hookimpl\n@hookimpl\ndef pollect_sources():\n"
        + "    return [TideSource]\n"
    )
    write_distribution(site, "pollect-tide", modules={"tide.py": plugin}, plugin="tide")
    registry = Registry()
    assert registry.sources["Tide"].spec.summary == "Height of the tide."
    assert registry.source_type("Tide").__name__ == "TideSource"


@pytest.mark.parametrize(
    ("stated", "cure"),
    [
        ("3", "pip install --upgrade pollect-core"),
        ("1", "pip install --upgrade pollect-tide"),
        ("'new'", "pip install --upgrade pollect-core"),
    ],
)
def test_plugin_of_another_api_is_left_out_and_says_what_to_upgrade(site, stated, cure) -> None:
    modules = {**TIDE, "tide_plugin.py": f"api = {stated}\n{TIDE_PLUGIN}"}
    write_distribution(site, "pollect-tide", modules=modules, plugin="tide_plugin")
    registry = Registry()
    assert "Tide" not in registry.sources
    assert "Dummy" in registry.sources, "the others go on"
    (problem,) = registry.problems
    assert f"is written for version {stated} of the plugin API, this pollect has 2" in problem.what
    assert problem.cure == cure


def test_plugin_that_states_our_api_or_none_is_taken(site) -> None:
    modules = {**TIDE, "tide_plugin.py": f"api = 2\n{TIDE_PLUGIN}"}
    write_distribution(site, "pollect-tide", modules=modules, plugin="tide_plugin")
    assert "Tide" in Registry().sources


OFFER = """
from pollect.api import SourceSpec, hookimpl
@hookimpl
def pollect_sources(): return [{}]
"""

BROKEN_MODULES = {
    "raises at import": (
        "import no_such_library\n",
        "fails at import: ModuleNotFoundError: No module named 'no_such_library'",
        "pip install --force-reinstall pollect-broken, or pip uninstall pollect-broken",
    ),
    "asserts at import": (
        "assert False, 'not on this machine'\n",
        "fails at import: AssertionError: not on this machine",
        "pip uninstall pollect-broken",
    ),
    "exits at import": (
        "raise SystemExit('bye')\n",
        "fails at import: SystemExit: bye",
        "pip uninstall pollect-broken",
    ),
    "misspelt hook": (
        "from pollect.api import hookimpl\n@hookimpl\ndef pollect_source(): return []\n",
        "implements the hook pollect_source, which does not exist, probably pollect_sources",
        "tell its author",
    ),
    "unknown argument of a hook": (
        "from pollect.api import hookimpl\n@hookimpl\ndef pollect_started(engine): ...\n",
        "cannot be used as a plugin",
        "tell its author",
    ),
    "raises in a hook": (
        "from pollect.api import hookimpl\n@hookimpl\ndef pollect_sources(): return 1 / 0\n",
        "fails in pollect_sources: ZeroDivisionError: division by zero",
        "pip install --upgrade pollect-broken",
    ),
    "yields without end": (
        "import itertools\nfrom pollect.api import hookimpl\n"
        "@hookimpl\ndef pollect_sources(): return itertools.repeat(None)\n",
        "fails in pollect_sources: ValueError: it yields more than 10,000 items",
        "pip install --upgrade pollect-broken",
    ),
    "a type that is a number": (
        OFFER.format("SourceSpec(5, 'x:Y')"),
        "returns SourceSpec(5) from pollect_sources, expected text as its type, got 5",
        "tell its author",
    ),
    "a type that no config can name": (
        OFFER.format("SourceSpec('a b', 'x:Y')"),
        "expected letters, digits, '_', '-' and '.' in a type, got 'a b'",
        "tell its author",
    ),
    "a type of megabytes": (
        OFFER.format("SourceSpec('L' * 1_000_000, 'x:Y')"),
        "expected letters, digits, '_', '-' and '.' in a type, got 'LLL",
        "tell its author",
    ),
    "aliases that are one text": (
        OFFER.format("SourceSpec('Tide', 'x:Y', aliases='abc')"),
        "returns SourceSpec('Tide') from pollect_sources, expected texts as its aliases, got 'abc'",
        "tell its author",
    ),
    "needs in words": (
        OFFER.format("SourceSpec('Tide', 'x:Y', needs='root')"),
        "expected Needs as its needs, got 'root'",
        "tell its author",
    ),
    "a class whose class raises": (
        "class Meta(type):\n"
        "    def __getattribute__(self, name): raise SystemExit(5)\n"
        "    def __repr__(self): raise SystemExit(6)\n"
        "class Tide(metaclass=Meta): ...\n" + OFFER.format("Tide"),
        "SystemExit: 5",
        "tell its author",
    ),
    "returns something else": (
        "from pollect.api import hookimpl\n@hookimpl\ndef pollect_sources(): return ['Tide']\n",
        "returns 'Tide' from pollect_sources, expected a SourceSpec",
        "tell its author",
    ),
}


@pytest.mark.parametrize(
    ("module", "what", "cure"), BROKEN_MODULES.values(), ids=BROKEN_MODULES.keys()
)
def test_broken_plugin_is_named_with_its_cure_and_the_rest_runs(
    site: Path, module: str, what: str, cure: str
) -> None:
    write_distribution(site, "pollect-broken", modules={"broken.py": module}, plugin="broken")
    write_distribution(site, "pollect-tide", modules=TIDE, plugin="tide_plugin")
    registry = Registry()
    assert {"Tide", "Dummy"} <= registry.sources.keys()
    (problem,) = registry.problems
    assert problem.culprit == "pollect-broken 1.0"
    assert what in problem.what
    assert cure in problem.cure


@pytest.mark.parametrize("plugin", ["gone", "gone.plugin", "tide_plugin:gone"])
def test_entry_point_that_leads_nowhere_is_named(site: Path, plugin: str) -> None:
    write_distribution(site, "pollect-tide", modules=TIDE, plugin=plugin)
    (problem,) = Registry().problems
    assert problem.subject == plugin
    assert problem.what == "is named by its entry point and is not there"


def test_well_spelt_hooks_of_a_plugin_with_a_misspelt_one_still_count(site: Path) -> None:
    plugin = TIDE_PLUGIN + "\n@hookimpl\ndef pollect_stoped(): ...\n"
    modules = {**TIDE, "tide_plugin.py": plugin}
    write_distribution(site, "pollect-tide", modules=modules, plugin="tide_plugin")
    registry = Registry()
    assert "Tide" in registry.sources
    assert "pollect_stopped" in registry.problems[0].what


def test_type_that_two_plugins_claim_names_both_and_only_it_is_lost(site: Path) -> None:
    claim = TIDE_PLUGIN.replace('"Tide"', '"Dummy"').replace('("Ebb",)', "()")
    modules = {"tide_plugin.py": claim}
    write_distribution(site, "pollect-tide", modules=modules, plugin="tide_plugin")
    registry = Registry()
    with pytest.raises(DuplicatePlugin, match=r"pollect-core [\d.]+ and pollect-tide 1\.0"):
        registry.source_type("Dummy")
    assert "Dummy" not in registry.sources
    assert registry.writer_type("DryRun").__name__ == "DryRunWriter"
    (problem,) = registry.problems
    assert problem.culprit.startswith("pollect-core")
    assert "also registered by pollect-tide 1.0" in problem.what
    assert problem.cure == "uninstall one: pip uninstall pollect-tide"


def test_missing_extra_is_found_before_the_class_is_imported(site: Path) -> None:
    extras = {"sonar": ["no-such-library>=2"]}
    write_distribution(site, "pollect-tide", modules=TIDE, plugin="tide_plugin", extras=extras)
    with pytest.raises(MissingDependency) as caught:
        Registry().source_type("Tide")
    assert str(caught.value) == (
        "source Tide needs no-such-library>=2: pip install 'pollect-tide[sonar]'"
    )
    assert caught.value.requirement == "pollect-tide[sonar]"
    assert "tide_source" not in sys.modules


def test_class_that_fails_to_import_says_why(site: Path) -> None:
    modules = {**TIDE, "tide_source.py": "raise RuntimeError('no tide today')\n"}
    write_distribution(site, "pollect-tide", modules=modules, plugin="tide_plugin")
    with pytest.raises(PluginLoadError, match=r"Tide: cannot load .*no tide today"):
        Registry().source_type("Tide")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("dumy", "did you mean 'Dummy'?"),
        ("DUMMY", "did you mean 'Dummy'?"),
        ("DryRun", "it is a writer"),
        ("Zzzzzz", "'pollect plugins list' shows what is installed"),
    ],
)
def test_unknown_type_comes_with_a_suggestion(word: str, hint: str) -> None:
    with pytest.raises(UnknownPlugin) as caught:
        Registry().source_type(word)
    assert (caught.value.type_name, caught.value.kind) == (word, "source")
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("SnmpWalk", "it is in pollect-far: pip install 'pollect-far[snmp]'"),
        ("snmpwalk", "did you mean 'SnmpWalk', in pollect-far: pip install 'pollect-far[snmp]'?"),
    ],
)
def test_type_of_a_distribution_that_is_absent_says_how_to_get_it(
    tmp_path: Path, word: str, hint: str
) -> None:
    registry = Registry()
    registry.catalogue = catalogue_with(tmp_path, "SnmpWalk", "source", "pollect-far", "snmp")
    with pytest.raises(UnknownPlugin) as caught:
        registry.find("source", word)
    assert caught.value.hint == hint


def test_type_of_a_broken_distribution_names_what_is_wrong_with_it(site: Path) -> None:
    modules = {"far.py": "import no_such_library\n"}
    write_distribution(site, "pollect-far", modules=modules, plugin="far")
    registry = Registry()
    registry.catalogue = catalogue_with(site, "SnmpWalk", "source", "pollect-far", "snmp")
    with pytest.raises(UnknownPlugin, match=r"plugin that is broken: .*no_such_libr"):
        registry.find("source", "SnmpWalk")


def catalogue_with(
    folder: Path, type_name: str, kind: Kind, distribution: str, extra: str
) -> Catalogue:
    file = folder / "catalogue.json"
    known = {
        "type": type_name,
        "kind": kind,
        "distribution": distribution,
        "target": "far.snmp:SnmpWalkSource",
        "extra": extra,
    }
    file.write_text(json.dumps({"distributions": {}, "types": [known]}))
    return Catalogue(file)


def test_commands_of_plugins_are_found_and_a_failing_one_is_left_out(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = (
        "import click\nfrom pollect.api import hookimpl\n@hookimpl\n"
        "def pollect_commands(): return [click.Command('tide')]\n"
    )
    bad = "from pollect.api import hookimpl\n@hookimpl\ndef pollect_commands(): return 1 / 0\n"
    write_distribution(site, "pollect-good", modules={"good.py": good}, plugin="good")
    write_distribution(site, "pollect-bad", modules={"bad.py": bad}, plugin="bad")
    found = [(name, command.name) for name, command in Registry().commands()]
    assert ("pollect-good", "tide") in found
    assert "pollect-bad offers no commands: ZeroDivisionError" in caplog.text
