"""Every command whose only word is a config takes it as FILE and as `-c FILE`."""

from collections.abc import Sequence
from typing import Any

import click
import pytest

from pollect.builtin.plugin import pollect_commands

#: What a command demands beside a config.
_REQUIRED = {"notify": ["--test"]}
#: Their words are something else, and their config is an option.
_OTHER_WORDS = {"auth", "explain", "plugins", "probe"}
_NO_CONFIG = {"completion", "init", "new", "schema"}
_COMMANDS = {command.name or "": command for command in pollect_commands()}
_TAKERS = sorted(_COMMANDS.keys() - _OTHER_WORDS - _NO_CONFIG)


def params(name: str, *words: str) -> dict[str, Any]:
    return _COMMANDS[name].make_context(name, [*words, *_REQUIRED.get(name, [])]).params


@pytest.mark.parametrize("name", _TAKERS)
def test_the_config_may_be_named_in_either_form(name: str) -> None:
    by_word = params(name, "my.yml")
    assert by_word["config_name"] == "my.yml"
    assert params(name, "-c", "my.yml") == params(name, "--config=my.yml") == by_word


@pytest.mark.parametrize("words", [["a.yml", "-c", "b.yml"], ["-c", "b.yml", "a.yml"]])
@pytest.mark.parametrize("name", _TAKERS)
def test_a_config_in_both_forms_is_refused_by_the_same_words(
    name: str, words: Sequence[str]
) -> None:
    with pytest.raises(click.UsageError) as caught:
        params(name, *words)
    assert caught.value.message == (
        "the config is named twice, as 'a.yml' and as -c 'b.yml': keep one"
    )


@pytest.mark.parametrize("name", _TAKERS)
def test_a_config_need_not_be_named(name: str) -> None:
    wanted = None if name in ("status", "reload", "doctor") else "config"
    assert params(name)["config_name"] == wanted
