"""Types with a dot: where they are looked for, and what is said when nothing fits."""

import os
import sys
from pathlib import Path

import pytest

from pollect.discovery.local import find_extension
from pollect.discovery.registry import Registry
from pollect.errors import PluginLoadError, UnknownPlugin
from pollect.plugin import Source, Writer
from pollect.testing import Running, build_source, build_writer

OLD = """
from pollect.sources.Source import Source

class {name}(Source):
    def _probe(self):
        return {value}
"""
NEW = """
from pollect.api import Metric, Source, SourceConfig

class TideConfig(SourceConfig, frozen=True, kw_only=True):
    height: float

class {name}(Source[TideConfig]):
    config_type = TideConfig
    metrics = (Metric("level", help="Level in metres."),)

    def probe(self):
        return {{"level": self.config.height}}
"""
WRITER = """
from pollect.writers.Writer import Writer

class LineWriter(Writer):
    def write(self, data, source_ref=None):
        print(data)
"""


pytestmark = pytest.mark.usefixtures("fresh_imports")


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def value_of(source_type, **options) -> float:
    with Running(build_source({"type": "x.Y", **options}, source_type)) as running:
        (sample,) = running.probe()
        return sample.value


@pytest.mark.parametrize("file", ["Tide.py", "TideSource.py"])
@pytest.mark.parametrize("name", ["Tide", "TideSource"])
def test_both_file_names_and_both_class_names(tmp_path, file, name) -> None:
    write(tmp_path / "extensions" / file, OLD.format(name=name, value=4))
    source_type = find_extension("extensions.Tide", "source", [tmp_path])
    assert issubclass(source_type, Source)
    assert value_of(source_type) == 4


def test_a_new_style_class_in_a_plain_file_comes_as_it_is(tmp_path) -> None:
    write(tmp_path / "extensions" / "Tide.py", NEW.format(name="TideSource"))
    source_type = find_extension("extensions.Tide", "source", [tmp_path])
    assert source_type.__name__ == "TideSource"
    assert source_type.__mro__[1] is Source
    assert value_of(source_type, height=2.5) == 2.5


def test_a_writer_of_1x(tmp_path, capsys) -> None:
    write(tmp_path / "extensions" / "LineWriter.py", WRITER)
    writer_type = find_extension("extensions.Line", "writer", [tmp_path])
    assert issubclass(writer_type, Writer)
    writer = build_writer({"type": "extensions.Line"}, writer_type)
    writer.open()
    from tests.core.legacy.test_adapter import BATCH

    writer.write([BATCH])
    writer.close()
    assert "home.Tide.harbour ['pier', 'site']" in capsys.readouterr().out


def test_the_first_folder_wins_and_the_import_path_is_last(tmp_path, monkeypatch) -> None:
    for number, folder in enumerate(("config", "cwd", "path")):
        for name in ("One", "Two", "Three")[: number + 1]:
            text = OLD.format(name=f"{name}Source", value=number)
            write(tmp_path / folder / "extensions" / f"{name}.py", text)
    monkeypatch.syspath_prepend(tmp_path / "path")
    search = [tmp_path / "config", tmp_path / "cwd"]
    found = {
        name: value_of(find_extension(f"extensions.{name}", "source", search))
        for name in ("One", "Two", "Three")
    }
    assert found == {"One": 0, "Two": 1, "Three": 2}


def test_a_regular_package_on_the_import_path_does_not_hide_the_folder(
    tmp_path, monkeypatch
) -> None:
    write(tmp_path / "path" / "extensions" / "__init__.py", "ran = True")
    write(tmp_path / "path" / "extensions" / "Far.py", OLD.format(name="Far", value=1))
    write(tmp_path / "config" / "extensions" / "Near.py", OLD.format(name="Near", value=2))
    monkeypatch.syspath_prepend(tmp_path / "path")
    search = [tmp_path / "config"]
    assert value_of(find_extension("extensions.Near", "source", search)) == 2
    assert value_of(find_extension("extensions.Far", "source", search)) == 1
    assert sys.modules["extensions"].ran


def test_packages_may_be_regular_or_deep(tmp_path) -> None:
    write(tmp_path / "mine" / "__init__.py", "WORD = 'init'")
    write(tmp_path / "mine" / "deep" / "Tide.py", OLD.format(name="Tide", value=3))
    assert value_of(find_extension("mine.deep.Tide", "source", [tmp_path])) == 3
    assert sys.modules["mine"].WORD == "init"


def test_a_folder_that_is_added_later_is_seen_too(tmp_path) -> None:
    write(tmp_path / "one" / "extensions" / "A.py", OLD.format(name="A", value=1))
    find_extension("extensions.A", "source", [tmp_path / "one"])
    write(tmp_path / "two" / "extensions" / "B.py", OLD.format(name="B", value=2))
    assert value_of(find_extension("extensions.B", "source", [tmp_path / "two"])) == 2


def test_what_lies_beside_an_extension_is_importable_and_hides_nothing(tmp_path) -> None:
    write(tmp_path / "yaml.py", "raise AssertionError('hides a library')")
    write(tmp_path / "json.py", "raise AssertionError('hides the standard library')")
    write(tmp_path / "tide_table.py", "LEVEL = 5")
    write(
        tmp_path / "extensions" / "Tide.py",
        "import json, yaml, tide_table" + OLD.format(name="Tide", value="tide_table.LEVEL"),
    )
    assert value_of(find_extension("extensions.Tide", "source", [tmp_path])) == 5


def test_nothing_found_lists_every_path_and_class_tried(tmp_path) -> None:
    file = write(tmp_path / "b" / "extensions" / "TideSource.py", "class Other: pass")
    with pytest.raises(UnknownPlugin) as refused:
        find_extension("extensions.Tide", "source", [tmp_path / "a", tmp_path / "b"])
    assert str(refused.value) == (
        "unknown source type 'extensions.Tide' (name the class Tide or TideSource; tried "
        f"{file} (no class TideSource or Tide), "
        f"{tmp_path / 'a' / 'extensions' / 'Tide.py'}, "
        f"{tmp_path / 'b' / 'extensions' / 'Tide.py'}, "
        "extensions.Tide on the import path)"
    )


@pytest.mark.parametrize("type_name", ["a..b", ".b", "a.", "../x.y", "a.b-c"])
def test_odd_names_are_no_extensions(type_name) -> None:
    with pytest.raises(UnknownPlugin, match=r"an extension is named folder\.Name"):
        find_extension(type_name, "source", [])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "import nosuchlibrary",
            r"ModuleNotFoundError: No module named 'nosuchlibrary' .*Tide.py:1",
        ),
        ("\n1 / 0", r"ZeroDivisionError: division by zero .*Tide\.py:2\)"),
        ("def f(:", r"SyntaxError: invalid syntax \(Tide\.py, line 1\)"),
        (
            "class Tide: pass",
            r"Tide in .*Tide\.py is not a class derived from pollect\.api\.Source",
        ),
        ("Tide = 5", r"is not a class derived from"),
        ("import pollect.core.Core", r"ImportError: pollect\.core\.Core of pollect 1\.x is gone"),
    ],
)
def test_an_extension_that_fails_is_named_with_its_place(tmp_path, text, complaint) -> None:
    write(tmp_path / "extensions" / "Tide.py", text)
    with pytest.raises(PluginLoadError, match=complaint) as refused:
        find_extension("extensions.Tide", "source", [tmp_path])
    assert str(refused.value).startswith("extensions.Tide: ")


def test_a_package_that_fails_is_named_and_tried_again(tmp_path) -> None:
    init = write(tmp_path / "mine" / "__init__.py", "1 / 0")
    write(tmp_path / "mine" / "Tide.py", OLD.format(name="Tide", value=3))
    with pytest.raises(PluginLoadError, match="importing mine failed: ZeroDivisionError"):
        find_extension("mine.Tide", "source", [tmp_path])
    os.utime(init, (0, 0))
    init.write_text("")
    assert value_of(find_extension("mine.Tide", "source", [tmp_path])) == 3


def test_the_registry_finds_extensions(tmp_path) -> None:
    write(tmp_path / "extensions" / "Tide.py", OLD.format(name="Tide", value=3))
    registry = Registry(extension_paths=[tmp_path])
    assert value_of(registry.source_type("extensions.Tide")) == 3
    with pytest.raises(UnknownPlugin, match=r"AbsentWriter\.py"):
        registry.writer_type("extensions.Absent")
