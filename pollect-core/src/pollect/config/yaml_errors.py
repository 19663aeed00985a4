"""What is wrong with a text that is not YAML, in words of our own.

The two parsers of the library, the one in C and the one in Python, each word it in their way, and
differently from version to version. What they agree on is where the mistake is and what was being
read, and that is what is decided by here.
"""

from collections.abc import Mapping

import yaml

from pollect.config.document import DEEPEST

#: The parser looks ahead for the `:` of a key so far; only within that can it meet a nesting that
#: is too deep for it before we do.
_LOOK_AHEAD = 1024
#: A problem and a hint.
_Words = tuple[str, str]

_START: _Words = ("a value cannot start with this character", "put it in quotes")
_AT: Mapping[str, _Words] = {
    ":": ("an unexpected ':'", "check the indentation and quotes"),
    "-": ("a list cannot start on this line", "start it on the next one"),
    "?": ("an unexpected '?'", "put it in quotes"),
}
_NO_KEY: _Words = ("a key without ':'", "or a text not indented enough")
_ANCHOR: _Words = ("an anchor without a name", "a text that starts with & or * needs quotes")
_BLOCK: _Words = ("a block of text starts here", "a text that starts with | or > needs quotes")
_WITHIN: Mapping[str, _Words] = {
    "&": _ANCHOR,
    "*": _ANCHOR,
    "|": _BLOCK,
    ">": _BLOCK,
    "!": ("an unknown tag", "a text that starts with ! needs quotes"),
    "%": ("a line cannot start with %", "put it in quotes"),
}
_QUOTE: _Words = ("a quote that is not closed", "")
_ESCAPE: _Words = (r"an unknown escape after a backslash", r"write \\, or use single quotes")
_NO_VALUE: _Words = ("a value is missing here", "a value with a special character needs quotes")
_NO_ITEM: _Words = ("this does not belong to the list above", "check the indentation")
_STRAY: _Words = ("this does not belong to the lines above", "check indentation and quotes")
_SECOND: _Words = ("a second document starts here", "a file contains one config")


def is_too_deep(text: str, error: yaml.MarkedYAMLError) -> bool:
    """Whether a parser gave up because of its own limit of nesting, in newer versions."""
    at = _offset(error)
    ahead = text[max(0, at - _LOOK_AHEAD) : at]
    return isinstance(error, yaml.scanner.ScannerError) and _open_brackets(ahead) >= DEEPEST


def explain(text: str, error: yaml.MarkedYAMLError) -> tuple[str, str, yaml.Mark | None]:
    """Return problem, hint and place of a mistake; quotes nothing, it may be a password."""
    at, mark, begin = _offset(error), error.problem_mark or error.context_mark, error.context_mark
    opener = "" if begin is None else text[begin.index : begin.index + 1]
    if text[at : at + 1] == "\t":
        return "a tab where YAML needs spaces", "", mark
    if text[max(0, at - 1) : at + 1] == "${":
        return "${...} without quotes between brackets", 'write "${NAME}"', mark
    if isinstance(error, yaml.scanner.ScannerError):
        if opener in ("'", '"') and not text[at:].strip("\0"):
            return *_QUOTE, begin
        return *_of_token(text, at, opener, inside=begin is not None and begin.index != at), mark
    if begin is None:
        return *_SECOND, mark
    if begin.index == at:
        return *_NO_VALUE, mark
    if opener in ("[", "{") and _open_brackets(text[begin.index : at]) > 0:
        hint = f"the bracket was opened in line {begin.line + 1}"
        return "a missing ',' or closing bracket", hint, mark
    return *(_NO_ITEM if opener == "-" else _STRAY), mark


def _of_token(text: str, at: int, opener: str, *, inside: bool) -> _Words:
    """Return what is wrong with a token; `inside` one that begins with `opener`."""
    if not inside:
        return _AT.get(text[at : at + 1], _START)
    if opener == '"' and "\\" in text[at - 1 : at + 1]:
        return _ESCAPE
    if text[at : at + 1] == ":":
        return _AT[":"]
    return _WITHIN.get(opener, _NO_KEY)


def _offset(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 0 if mark is None else mark.index


def _open_brackets(text: str) -> int:
    opened = text.count("[") + text.count("{")
    return opened - text.count("]") - text.count("}")
