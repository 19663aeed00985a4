"""The import paths of pollect 1.x: what an extension needs is there, the rest says what came."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from pollect import __version__
from pollect.legacy.paths import KEPT, REMOVED


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_module_has_its_names(name) -> None:
    successor, names = KEPT[name]
    module = importlib.import_module(name)
    for public in names:
        assert getattr(module, public) is getattr(importlib.import_module(successor), public)
    assert sorted(module.__all__) == sorted(names)


@pytest.mark.parametrize("name", [*REMOVED, "pollect.libs.viessmann.ViessmannApi"])
def test_a_removed_module_says_what_came_instead(name) -> None:
    with pytest.raises(ImportError) as refused:
        importlib.import_module(name)
    assert not isinstance(refused.value, ModuleNotFoundError)
    assert refused.value.name in name
    assert "of pollect 1.x is gone: " in str(refused.value)


def test_a_built_in_source_says_where_it_is_now() -> None:
    with pytest.raises(ImportError) as refused:
        from pollect.sources.DiskUsageSource import DiskUsageSource  # type: ignore # noqa: F401
    assert str(refused.value) == (
        "pollect.sources.DiskUsageSource of pollect 1.x is gone: DiskUsageSource is in "
        "pollect_sources_system.disk_usage now, of pollect-sources-system: "
        "pip install pollect-sources-system"
    )


def test_a_built_in_writer_says_where_it_is_now() -> None:
    with pytest.raises(ImportError, match=r"PrometheusWriter is in pollect_writers\.prometheus"):
        importlib.import_module("pollect.writers.PrometheusWriter")


def test_the_source_that_stood_beside_the_base_class_says_where_it_is_now() -> None:
    with pytest.raises(ImportError, match=r"LoadAvgSource is in pollect_sources_system\.load_avg"):
        from pollect.sources.Source import LoadAvgSource  # type: ignore # noqa: F401
    with pytest.raises(AttributeError, match="has no attribute 'Foo'"):
        importlib.import_module("pollect.sources.Source").Foo  # noqa: B018


def test_a_source_that_was_dropped_into_the_package_is_shown_the_new_place() -> None:
    with pytest.raises(ImportError, match=r"`type: extensions\.VSphere`"):
        importlib.import_module("pollect.sources.VSphereSource")


@pytest.mark.parametrize("name", ["pollect.nonsense", "pollect.sources.nonsense", "pollection"])
def test_what_1x_never_had_is_just_not_found(name) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_nothing_of_legacy_is_loaded_until_an_old_path_is_asked_for() -> None:
    program = """if True:
        import sys, pollect.api, pollect.discovery.registry, pollect.config.load
        assert not [name for name in sys.modules if name.startswith("pollect.legacy")]
        from pollect.core.ValueSet import ValueSet
        assert "pollect.legacy.values" in sys.modules
        assert "pollect.legacy.adapter" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["--version"], 0, f"pollect {__version__}\n"),
        (["--config", "nowhere"], 2, "no config file, tried nowhere, "),
    ],
)
def test_the_old_way_to_start_passes_the_exit_code_on(arguments, code, output, tmp_path) -> None:
    command = [sys.executable, "-m", "pollect.Pollect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == code
    assert (done.stdout + done.stderr).startswith(output)
