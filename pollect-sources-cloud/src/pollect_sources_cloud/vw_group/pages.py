"""The pages of the sign-in: which form there is to fill in, and what went wrong. Pure.

The first page has a form with hidden inputs, the second keeps the same facts in its script, as
`templateModel: {...}, csrf_token: '...'`.
"""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from pollect.api import BadResponse
from pollect.support.urls import redact_url

NEEDED = ("_csrf", "hmac", "relayState")
_MODEL = re.compile(r"""templateModel["']?\s*[:=]\s*(?={)""")
_CSRF = re.compile(r"""csrf_token["']?\s*[:=]\s*["']([^"']+)["']""")
_SHORT_WORD = re.compile(r"[\w.: -]{1,80}")


@dataclass
class SignInForm:
    """Where to send a form, and the fields that are filled in already."""

    target: str
    fields: dict[str, str] = field(default_factory=dict)


class _FirstForm(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._state = "before"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self._state == "before":
            self._state = "inside"
            self.action = found.get("action") or ""
        elif tag == "input" and self._state == "inside" and found.get("name"):
            self.fields[found["name"] or ""] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._state == "inside":
            self._state = "behind"


def parse_form(html: str, url: str) -> SignInForm:
    """Return the form of a page; raises `BadResponse` when it lacks a field.

    It goes to the address it names, else to that of the page, without a query: what stands there
    is in the form as well, and twice is refused.
    """
    page = _FirstForm()
    page.feed(html)
    fields = dict(page.fields)
    model = _model(html)
    fields |= {name: model[name] for name in NEEDED if isinstance(model.get(name), str)}
    csrf = _CSRF.search(html)
    if csrf:
        fields.setdefault("_csrf", csrf[1])
    missing = [name for name in NEEDED if not fields.get(name)]
    if missing:
        raise BadResponse(
            f"{redact_url(url)}: expected a form to sign in, but {missing[0]} is missing: "
            "the sign-in has changed, or asks something else"
        )
    target = urlsplit(urljoin(url, page.action))
    return SignInForm(urlunsplit((*target[:3], "", "")), fields)


def asks_for_password(html: str) -> bool:
    """Whether a page is the second one: only there the account is known."""
    page = _FirstForm()
    page.feed(html)
    form = _model(html).get("emailPasswordForm")
    action = str(_model(html).get("postAction", "")) + page.action
    return "password" in page.fields or isinstance(form, dict) or "authenticate" in action


def complaint(html: str) -> str:
    """Return the word for what went wrong that a page carries, empty for none."""
    model = _model(html)
    found: Any = model.get("error") or model.get("errorCode") or ""
    if isinstance(found, dict):
        found = found.get("errorCode") or found.get("text") or "error"
    return str(found) if _SHORT_WORD.fullmatch(str(found)) else ""


def _model(html: str) -> dict[str, Any]:
    place = _MODEL.search(html)
    if place is None:
        return {}
    try:
        found, _ = json.JSONDecoder().raw_decode(html, place.end())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
