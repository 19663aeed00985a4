"""Requests on their way: where a URL leads, and what a redirect changes."""

import functools
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

from pollect.support._http.connection import DEFAULT_PORTS, Exchange, Origin
from pollect.support._http.credentials import of_user_info
from pollect.support._http.message import BadMessage
from pollect.support.urls import redact_url

#: What a server that was not asked for may know of a request; the rest may hold secrets.
_PUBLIC_HEADERS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-encoding",
        "content-language",
        "content-type",
        "pragma",
        "user-agent",
    }
)
_OF_BODY = ("content-type", "content-encoding", "content-language")

_TO_QUOTE = re.compile(r"[^A-Za-z0-9._~!#$%&'()*+,/:;=?@\[\]-]|%(?![0-9A-Fa-f]{2})")

_QUOTED_CHARACTERS = 80
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_BREAK = re.compile(r"[\r\n\0]")

#: Name in lower case -> name as it goes out, and content.
Fields: TypeAlias = dict[str, tuple[str, str]]


class Place(NamedTuple):
    """Where a URL leads, in the parts that a request needs."""

    origin: Origin
    #: Path and query, encoded.
    target: str
    #: As in the URL, with the user information it may have.
    netloc: str


@functools.lru_cache(maxsize=1024)
def locate(url: str) -> Place:
    """Take a URL apart. Raises `BadMessage`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadMessage("not a usable URL") from error
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise BadMessage("not a usable URL")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise BadMessage("not a usable host name") from error
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    if not target.startswith("/"):
        target = f"/{target}"
    target = _TO_QUOTE.sub(lambda found: quote(found[0], safe="", errors="replace"), target)
    usual = DEFAULT_PORTS[parts.scheme]
    return Place(
        Origin(parts.scheme, host.replace("%25", "%"), port or usual), target, parts.netloc
    )


class Trip:
    """One request on its way through redirects."""

    def __init__(self, method: str, url: str, fields: Fields, body: bytes) -> None:
        for pair in fields.values():
            check_field(*pair)
        if not _METHOD.fullmatch(method):
            raise BadMessage(f"{method!r} is not a usable method")
        self.method = method
        self.url = url
        self.fields = fields
        self.body = body
        self.place = locate(url)
        #: The credentials of the first URL, for its origin.
        self.own = of_user_info(self.place.netloc)
        #: Whether a redirect led to another origin, which must not see what is for the first.
        self.is_away = False
        #: Whether a challenge was answered; the next one means that the answer was wrong.
        self.is_challenged = False
        self.exchanges: list[Exchange] = []

    def turn(self, status: int, location: str) -> None:
        """Go where a redirect leads. Raises `BadMessage`."""
        with suppress(UnicodeError):  # many servers send UTF-8
            location = location.encode("latin-1").decode()
        before = self.place.origin
        try:
            url = urljoin(self.url, location.strip())
            if urlsplit(url).scheme not in DEFAULT_PORTS:
                raise BadMessage("redirected to something other than HTTP")
            self.place = locate(url)
        except ValueError as error:
            where = redact_url(location)[:_QUOTED_CHARACTERS]
            raise BadMessage(f"redirected to {where!r}, which is not a URL") from error
        self.url = url
        self.is_challenged = False
        # 303 asks for a GET; 301 and 302 get one as well, as browsers and 1.x do it.
        changing = {301: ("POST",), 302: (self.method,), 303: (self.method,)}.get(status, ())
        if self.method in changing and self.method not in ("GET", "HEAD"):
            self.method, self.body = "GET", b""
            self._drop(lambda name: name in _OF_BODY)
        if self.place.origin != before:
            self.is_away, self.own = True, None
            self._drop(lambda name: name not in _PUBLIC_HEADERS)

    def _drop(self, is_dropped: Callable[[str], bool]) -> None:
        self.fields = {name: pair for name, pair in self.fields.items() if not is_dropped(name)}


def check_field(name: str, value: str) -> None:
    """Raise `BadMessage` for a header that would bring another one along."""
    if _LINE_BREAK.search(name) or _LINE_BREAK.search(value):
        raise BadMessage(f"the header {name!r} contains a line break")


def merge_fields(fields: Fields, *more: Mapping[str, str] | None) -> Fields:
    """Return `fields` with `more` over them, whatever the case of the names."""
    merged = dict(fields)
    for headers in more:
        for name, value in (headers or {}).items():
            merged[name.lower()] = name, value
    return merged
