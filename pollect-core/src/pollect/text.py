"""Text that devices and plugins chose: made valid for an encoder, made visible for a reader."""

import re

#: Stands for what is not text: Unicode's replacement character, by its number, as Ctrl-C while
#: Python loads the table of names would look like a mistake in this line.
REPLACEMENT = "\ufffd"
_LONE_SURROGATES = re.compile("[\ud800-\udfff]+")
#: What moves the cursor of a terminal, ends a line for some programs or turns text around.
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def valid_text(text: str) -> str:
    """Return text that can be encoded: what is not valid Unicode becomes one U+FFFD.

    Such text comes from bytes that are not UTF-8 (names of files, mount points and processes) and
    from JSON with half of a surrogate pair.
    """
    return text if text.isascii() else _LONE_SURROGATES.sub(REPLACEMENT, text)


def visible_text(text: str) -> str:
    """Return text for a log or a terminal: what a reader would not see is written out.

    Texts of devices are in messages and tables. Line breaks and tabs stay.
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
