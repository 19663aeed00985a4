"""Every hook, error and option has its entry in the manual."""

import re

import pytest

from pollect import legacy, testing
from pollect.cli.manual import write_manual
from pollect.config.describe import describe_options
from pollect.config.options import ExecutorOptions, RootOptions
from pollect.discovery.registry import Registry
from pollect.legacy.paths import KEPT
from pollect.plugin import SourceConfig, WriterConfig
from tests.tools.reference import FILE, build_reference, error_classes, hooks, signature_of

MANUAL = FILE.with_name("plugins.md").read_text(encoding="utf-8")
REFERENCE = FILE.read_text(encoding="utf-8")
REGISTRY = Registry()
ENTRIES = [*REGISTRY.sources.values(), *REGISTRY.writers.values()]


def test_the_reference_is_up_to_date() -> None:
    assert build_reference() == REFERENCE, "make docs renews it"


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook.__name__)
def test_every_hook_has_an_entry_with_its_signature(hook) -> None:
    assert f"### `{signature_of(hook)}`\n\n{hook.__doc__.splitlines()[0]}" in REFERENCE


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_has_an_entry_and_a_place_in_the_tree(error) -> None:
    assert f"### `{error.__name__}`\n\n{error.__doc__.splitlines()[0]}" in REFERENCE
    assert re.search(rf"^ *{error.__name__}\b", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("model", [RootOptions, ExecutorOptions, SourceConfig, WriterConfig])
def test_every_common_option_has_an_entry(model) -> None:
    for row in describe_options(model):
        assert row.description
        assert f"| `{row.name}` |" in REFERENCE


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.spec.type}")
def test_every_option_and_value_of_a_type_is_in_its_manual(entry) -> None:
    plugin = entry.spec.load()
    manual = write_manual(entry, plugin)
    for row in describe_options(plugin.config_type):
        assert re.search(rf"^ +{re.escape(row.name)} .*\S\.$", manual, re.MULTILINE), row.name
    for metric in getattr(plugin, "metrics", ()):
        assert metric.help in manual


def test_the_manual_lists_every_kept_import_path() -> None:
    assert legacy.__doc__
    for module, (_, names) in KEPT.items():
        (line,) = [line for line in MANUAL.splitlines() if line.startswith(f"| `{module}` |")]
        assert {*re.findall(r"`(\w+)`", line.partition("| `")[2])} >= set(names)


def test_the_manual_names_only_what_the_test_kit_has() -> None:
    for name in re.findall(r"from pollect\.testing import (.+)", MANUAL):
        assert set(name.split(", ")) <= set(testing.__all__)
