"""The names a new plugin gets, and what is refused."""

from pathlib import Path

import pytest

from pollect.cli.new import Names, render
from tests.e2e.command import call

EXAMPLE = Path(__file__).parents[3] / "examples" / "pollect-tide"


@pytest.mark.parametrize(
    "text", ["rain-gauge", "rain_gauge", "RainGauge", "pollect-rain-gauge", "Rain Gauge"]
)
def test_every_form_of_a_name_gives_the_same_names(text) -> None:
    names = Names.of(text)
    assert names.distribution == "pollect-rain-gauge"
    tokens = names.tokens
    assert tokens["@package@"] == "pollect_rain_gauge"
    assert (tokens["@module@"], tokens["@type@"]) == ("rain_gauge", "RainGauge")


@pytest.mark.parametrize("text", ["", "3d", "class", "wärme", "a/b", "pollect-"])
def test_what_makes_no_module_is_refused(text) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a module"):
        Names.of(text)


def test_the_example_is_what_the_command_makes() -> None:
    expected = dict(render(Names.of("tide")))
    found = {
        file.relative_to(EXAMPLE): file.read_text()
        for file in EXAMPLE.rglob("*")
        if file.is_file() and not {"__pycache__", ".pytest_cache"} & set(file.parts)
    }
    assert found == expected, "pollect plugins new tide --into examples makes it again"


@pytest.mark.parametrize("writer", [False, True])
def test_no_token_of_the_template_is_left(writer: bool) -> None:
    for path, text in render(Names.of("tide"), writer=writer):
        assert "@" not in str(path)
        assert not [token for token in Names.of("tide").tokens if token in text]


def test_a_folder_that_is_there_is_not_touched(tmp_path) -> None:
    (tmp_path / "pollect-tide").mkdir()
    done = call("plugins", "new", "tide", folder=tmp_path)
    assert done.returncode == 2
    assert "pollect-tide is there already" in done.stderr
    assert list((tmp_path / "pollect-tide").iterdir()) == []


def test_a_wrong_name_is_told_with_an_example(tmp_path) -> None:
    done = call("plugins", "new", "3d", folder=tmp_path)
    assert done.returncode == 2
    assert "'3d' cannot be the name of a module; use a word such as 'rain-gauge'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load-avg"], "pollect-sources-system has a source LoadAvg already"),
        (["--writer", "Otel"], "pollect-writers has a writer Otel already"),
    ],
)
def test_the_type_of_another_distribution_is_not_taken(tmp_path, arguments, message) -> None:
    done = call("plugins", "new", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert f"{message}; choose another name" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path) -> None:
    (tmp_path / "file").touch()
    done = call("plugins", "new", "tide", "--into", "file/deeper", folder=tmp_path)
    assert done.returncode == 2
    assert "cannot write file/deeper" in done.stderr
    assert "choose another folder with --into" in done.stderr
    assert "internal error" not in done.stderr
