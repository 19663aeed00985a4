"""The catalogue says what the plugin modules say."""

from pollect.discovery.catalogue import FILE, Catalogue
from pollect.discovery.registry import Registry
from tests.tools.catalogue import build_catalogue


def test_catalogue_is_what_the_plugin_modules_say() -> None:
    assert FILE.read_text(encoding="utf-8") == build_catalogue(), "run `make catalogue`"


def test_every_installed_type_of_ours_is_read_back_from_the_catalogue() -> None:
    registry, catalogue = Registry(), Catalogue()
    installed = (*registry.sources.values(), *registry.writers.values())
    ours = [entry for entry in installed if entry.distribution.startswith("pollect-")]
    assert ours
    for entry in ours:
        known = catalogue.find(entry.kind, entry.spec.type)
        assert known is not None
        assert (known.spec, known.distribution) == (entry.spec, entry.distribution)
        assert not known.installed


def test_requirements_of_a_distribution_are_known() -> None:
    found = Catalogue().requirements("pollect-sources-system", [])
    assert any(line.startswith("psutil") for line in found)
    assert Catalogue().requirements("pollect-unheard-of", ["x"]) == []
