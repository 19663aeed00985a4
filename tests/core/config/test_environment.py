"""`${...}`: the rules of 1.x as its users know them, and what was added."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.config.environment import Environment, Filled, Unset, fill_data, unset_texts
from pollect.config.templates import split_text

VARIABLES = {"A": "va", "B": "vb", "NEST": "${B}x", "EMPTY": "", "DOLLARS": "a$$b", "my-VAR_1": "m"}


def fill(text: str, variables: Mapping[str, str] = VARIABLES, keep: tuple[str, ...] = ()) -> str:
    return Environment(variables, Path("absent")).fill(text, keep)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x${A}y${B}", "xvayvb"),
        ("${A}${A}", "vava"),
        ("${my-VAR_1}", "m"),
        ("^foo$", "^foo$"),
        (r"(\d+)$|${A}", r"(\d+)$|va"),
        ("cost$$5", "cost$5"),
        ("^a$$", "^a$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$va"),
        ("$$$${A}", "$${A}"),
        ("${NEST}", "${B}x"),
        ("${NEST}-${B}", "${B}x-vb"),
        ("${DOLLARS}", "a$$b"),
        ("${EMPTY}", ""),
        ("$A", "$A"),
        ("${}", "${}"),
        ("${A", "${A"),
        ("${a.b}", "${a.b}"),
        ("${ A }", "${ A }"),
        ("${A:x}", "${A:x}"),
        ("${A:-x}", "va"),
        ("${NONE:-x y}", "x y"),
        ("${NONE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-$$}", "$$"),
        ("$${NONE:-x}", "${NONE:-x}"),
        ("${A:?needed}", "va"),
        ("", ""),
    ],
)
def test_text_is_filled_in(text: str, expected: str) -> None:
    filled = fill(text)
    assert not isinstance(filled, Unset)
    assert filled == expected


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("${NONE}", "variable NONE is not set", "set it, or write ${NONE:-default}"),
        ("${A}-${NONE}", "variable NONE is not set", "set it, or write ${NONE:-default}"),
        ("${NONE:?from the portal}", "variable NONE is not set: from the portal", ""),
        ("${EMPTY:?must be filled}", "variable EMPTY is not set: must be filled", ""),
        ("${NONE:?}", "variable NONE is not set", "set it, or write ${NONE:-default}"),
        ("${A:-${B}}", "the default of ${A} cannot refer to another variable", ""),
    ],
)
def test_what_cannot_be_filled_in_keeps_its_text_and_the_reason(
    text: str, problem: str, hint: str
) -> None:
    unset = fill(text)
    assert isinstance(unset, Unset)
    assert (str(unset), unset.problem, unset.hint) == (text, problem, hint)


def test_file_is_read_without_the_line_break_at_its_end(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cr$$t ${A}\n")
    environment = Environment(VARIABLES, tmp_path)
    assert environment.fill(f"<${{file:{secret}}}>") == "<s3cr$$t ${A}>"
    assert environment.fill("${file:secret}") == "s3cr$$t ${A}", "relative to the config file"


def test_file_that_cannot_be_read_is_unset(tmp_path: Path) -> None:
    environment = Environment({}, tmp_path)
    unset = environment.fill("${file:absent}")
    assert isinstance(unset, Unset)
    assert unset.problem == "cannot read absent: No such file or directory"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    unset = environment.fill("${file:binary}")
    assert isinstance(unset, Unset)
    assert unset.problem == "cannot read binary: it is not UTF-8 text"


def test_name_of_a_file_may_hold_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    environment = Environment(
        {"CREDENTIALS_DIRECTORY": str(tmp_path), "N": "token"}, Path("absent")
    )
    for text in (
        "<${file:${CREDENTIALS_DIRECTORY}/token}>",
        "<${file:${CREDENTIALS_DIRECTORY}/${N}}>",
        "<${file:${CREDENTIALS_DIRECTORY}/${NONE:-token}}>",
    ):
        assert environment.fill(text) == "<s3cret>"
    for text, problem in (
        ("${file:${NONE}/token}", "variable NONE is not set"),
        ("${file:${CREDENTIALS_DIRECTORY}/x}", "cannot read ${CREDENTIALS_DIRECTORY}/x: No such"),
        ("${file:${file:token}}", "the name of a file cannot come from another file"),
    ):
        unset = environment.fill(text)
        assert isinstance(unset, Unset)
        assert unset.problem.startswith(problem)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/dev/zero", "expected a file, got a device"),
        ("pipe", "expected a file, got a pipe"),
        ("huge", "it is larger than 1 MB"),
        (".", "expected a file, got a directory"),
        ("a\0b", "its name is not one that a file can have"),
    ],
)
def test_only_a_file_of_a_sane_size_is_read(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 1_000_001)
    unset = Environment({}, tmp_path).fill(f"${{file:{name}}}")
    assert isinstance(unset, Unset)
    assert unset.problem == f"cannot read {name}: {reason}"


def test_text_from_outside_is_marked_with_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    filled = Environment(VARIABLES, tmp_path).fill("${A}${B:-geheim}${A}${file:f}")
    assert isinstance(filled, Filled)
    assert filled.origin == "${A} and ${B} and ${file:f}"
    assert not isinstance(fill("cost$$5"), Filled)
    assert not isinstance(fill("${NONE:-x}"), Filled)


def test_placeholder_stays_even_if_the_environment_has_such_a_variable() -> None:
    assert fill("1.3.${A}.${B}", keep=("A",)) == "1.3.${A}.vb"
    assert fill("${if}", keep=("if",)) == "${if}"
    assert not isinstance(fill("${if}", keep=("if",)), Unset)


def test_texts_at_any_depth_are_filled_in_and_nothing_else() -> None:
    data = {
        "${A}": ["${A}", {"b": ["${B}", 1, True, None]}],
        "own": {"oid": "1.${A}.${B}", "deeper": ["${A}"]},
    }
    filled = fill_data(
        data,
        Environment(VARIABLES, Path()),
        lambda path, section: section.keys() & {"oid"} and "A" if path == "own" else (),
    )
    assert filled == {
        "${A}": ["va", {"b": ["vb", 1, True, None]}],
        "own": {"oid": "1.${A}.vb", "deeper": ["${A}"]},
    }


def test_unset_texts_are_found_at_any_depth() -> None:
    data = {"a": ["${A}", {"b": "${NONE}"}], "c": "${OTHER}"}
    filled = fill_data(data, Environment(VARIABLES, Path()), lambda _path, _section: ())
    assert [path for path, _ in unset_texts(filled, "x")] == ["x.a[1].b", "x.c"]


NAMES = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)


@given(st.text().filter(lambda text: "$" not in text))
def test_text_without_a_dollar_is_left_alone(text: str) -> None:
    assert fill(text) is text


@given(st.text())
def test_doubling_every_dollar_protects_any_text(text: str) -> None:
    assert fill(text.replace("$", "$$")) == text


@given(NAMES, st.text(), st.text(), st.text())
def test_value_of_a_variable_is_never_looked_at_again(
    name: str, value: str, before: str, after: str
) -> None:
    text = f"{before.replace('$', '$$')}${{{name}}}{after.replace('$', '$$')}"
    assert fill(text, {name: value}) == before + value + after


@given(st.text(alphabet="$:-?{}A a\n\\"), st.sampled_from(["", "a", "$", "${A}", "}"]))
def test_scan_agrees_with_a_reading_letter_by_letter(text: str, value: str) -> None:
    filled = fill(text, {"A": value})
    expected = read_by_letters(text, {"A": value})
    if expected is None:
        assert isinstance(filled, Unset)
        assert filled == text
    else:
        assert not isinstance(filled, Unset)
        assert filled == expected


def read_by_letters(text: str, variables: Mapping[str, str]) -> str | None:
    """The rules once more, without regular expression for the whole; None for something unset."""
    result, at = "", 0
    while at < len(text):
        end = text.find("}", at)
        if text.startswith("$$", at):
            result, at = result + "$", at + 2
        elif text.startswith("${", at) and end != -1:
            name, colon, rest = text[at + 2 : end].partition(":")
            if not re.fullmatch("[A-Za-z0-9_-]+", name) or (colon and rest[:1] not in ("-", "?")):
                result, at = result + "$", at + 1
                continue
            if rest[:1] == "-" and "${" in rest:
                return None
            value = variables.get(name)
            if rest[:1] == "-" and not value:
                value = rest[1:]
            if value is None or (rest[:1] == "?" and not value):
                return None
            result, at = result + value, end + 1
        else:
            result, at = result + text[at], at + 1
    return result


@pytest.mark.parametrize("begin", ["${A:-", "${file:", "${file:${A}", "${A:?"])
def test_a_reference_that_is_never_closed_costs_no_time(begin: str) -> None:
    text = begin * 50_000
    assert fill(text) == text


def test_dollars_behind_the_last_brace_are_still_halved() -> None:
    assert fill("${A} costs $$5, not $6") == "va costs $5, not $6"


def test_a_place_that_is_never_closed_costs_no_time() -> None:
    text = "${target:-" * 50_000
    assert split_text(text, str) is None
