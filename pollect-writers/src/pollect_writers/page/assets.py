"""The style and the script of the page, as they lie in this package."""

import zlib
from functools import cache
from pathlib import Path

CSS = "page.css"
JS = "page.js"
#: Where they are served, relative to the root of the endpoint.
FOLDER = "-/"

CONTENT_TYPES = {CSS: "text/css; charset=utf-8", JS: "text/javascript; charset=utf-8"}


@cache
def read_asset(name: str) -> bytes:
    """Return one of them."""
    return (Path(__file__).parent / name).read_bytes()


@cache
def versioned(name: str) -> str:
    """Return its URL, which changes with its content, so that browsers may keep it."""
    return f"{FOLDER}{name}?v={zlib.crc32(read_asset(name)):08x}"
