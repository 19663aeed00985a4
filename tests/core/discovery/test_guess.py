"""What somebody meant who wrote another word."""

from pathlib import Path

import pytest

from pollect.discovery.guess import closest
from pollect.discovery.local import find_extension
from pollect.errors import UnknownPlugin


@pytest.mark.parametrize(
    ("word", "meant"),
    [("Tcp", "TcpTime"), ("tcptime", "TcpTime"), ("Cpuu", "Cpu"), ("Zz", None), ("Quux", None)],
)
def test_the_beginning_of_a_type_counts_more_than_likeness(word: str, meant: str | None) -> None:
    assert closest(word, ["Cpu", "TcpTime", "Http"]) == meant


def test_a_misspelt_folder_of_an_extension_is_corrected(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "AsyncThing.py").touch()
    with pytest.raises(UnknownPlugin, match=r"did you mean 'extensions\.AsyncThing'\?; tried"):
        find_extension("extension.AsyncThing", "source", [tmp_path])
    with pytest.raises(UnknownPlugin, match=r"write a class Tide in gauges/Tide\.py beside the"):
        find_extension("gauges.Tide", "source", [tmp_path])
