"""Requests to a Plex server, all of a probe within one limit.

XML over HTTP as in the client python-plexapi (pkkid/python-plexapi, `plexapi/library.py`). Listings
are counted by asking for none of their entries; `totalSize` then says how many there are.
"""

import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from pollect.api import BadResponse, ProbeError, TargetUnavailable
from pollect.support.http import HttpClient, Response
from pollect.support.urls import redact_url
from pollect_sources_home.plex.xml import Listing, counted, parse_listing, parse_tree
from pollect_sources_home.web import hint_on_refusal

#: Kinds of entries in a library, by the numbers of the server.
MOVIE, SHOW, SEASON, EPISODE, ARTIST, ALBUM, TRACK, PHOTO = 1, 2, 3, 4, 8, 9, 10, 13

_NO_ENTRIES = {"X-Plex-Container-Start": "0", "X-Plex-Container-Size": "0"}


class Section(NamedTuple):
    """One library."""

    key: str
    kind: str
    title: str


class PlexClient:
    """One server, over one HTTP session; its URL has no slash at the end."""

    def __init__(self, url: str, http: HttpClient, *, has_token: bool, limit_seconds: float):
        self._url = url
        self._http = http
        self._hint = (
            "the server rejects `token`; it may have been revoked"
            if has_token
            else "set `token`, or add this host to the addresses that need none"
        )
        self._limit_seconds = limit_seconds
        self._end = 0.0

    def begin(self) -> None:
        """Let the requests from now on share one limit."""
        # How long a peer takes is measured on the real clock.
        self._end = time.monotonic() + self._limit_seconds

    def sections(self, problems: list[str]) -> list[Section]:
        """Return the libraries of the server; those without a usable key go to `problems`."""
        found: dict[str, Section] = {}
        for element in self._tree("/library/sections"):
            section = Section(*(element.get(name, "") for name in ("key", "type", "title")))
            if section.key.isascii() and section.key.isalnum():
                found.setdefault(section.key, section)
            else:
                problems.append(
                    f"library {section.title!r:.40}: expected a number as its key, got "
                    f"{section.key!r:.40}"
                )
        return list(found.values())

    def sessions(self) -> ElementTree.Element:
        """Return what is played at the moment, one child for each stream."""
        return self._tree("/status/sessions")

    def version(self) -> str:
        """Return the version of the server."""
        return self._tree("/identity").get("version", "")

    def count(self, section: Section, kind: int) -> int:
        """Return how many entries of a kind a library has; raises `ProbeError`."""
        path = f"/library/sections/{section.key}/all"
        query = {"type": str(kind), "includeCollections": "0"}
        paged = self._listing(path, {**query, **_NO_ENTRIES}, _NO_ENTRIES)
        total = self._number(section, paged, "totalSize")
        if total is not None:
            return total
        # Very old servers count only what they list.
        listing = self._listing(path, query)
        if listing.child_type == "show" and kind == EPISODE:
            return listing.leaves
        if listing.child_type == "show" and kind == SEASON:
            return listing.children
        if listing.child_type == "album" and kind == TRACK:
            return listing.leaves
        return self._number(section, listing, "size") or 0

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _number(self, section: Section, listing: Listing, name: str) -> int | None:
        try:
            return counted(listing.attributes, name)
        except ValueError as error:
            where = redact_url(f"{self._url}/library/sections/{section.key}/all")
            raise BadResponse(f"{where}: {error}") from error

    def _tree(self, path: str) -> ElementTree.Element:
        answer = self._get(path)
        return parse_tree(answer.body, _where(answer))

    def _listing(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Listing:
        answer = self._get(path, query, headers)
        return parse_listing(answer.body, _where(answer))

    def _get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TargetUnavailable(
                f"{redact_url(self._url)}: no end after {self._limit_seconds:g} s"
            )
        url = self._url + path
        try:
            with hint_on_refusal(self._hint):
                return self._http.get(url, params=query, headers=headers, timeout=left)
        except ProbeError as error:
            raise self._explained(error) from error

    def _explained(self, error: ProbeError) -> ProbeError:
        """Add what users of Plex stumble over."""
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TargetUnavailable(
                f"{error}: Plex has a certificate for *.plex.direct: use that name, or set "
                "`verify: false`"
            )
        if isinstance(cause, ConnectionResetError) and self._url.startswith("http:"):
            return TargetUnavailable(
                f"{error}: the server may require secure connections: use https"
            )
        return error


def _where(answer: Response) -> str:
    # Without the query, which says the same every time and hides the reason behind it.
    return f"{redact_url(answer.url.partition('?')[0])}: status {answer.status}"
