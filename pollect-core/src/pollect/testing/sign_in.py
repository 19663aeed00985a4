"""A sign-in without an operator: answers are given before, and the browser only follows redirects.

dialogue = RehearsedSignIn(answers=["owner@example.org", "secret"])
source.sign_in(dialogue)
assert "found: heat pump" in dialogue.shown
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from pollect.errors import AuthenticationFailed, TargetUnavailable
from pollect.plugin import AuthorizationCode, Secret
from pollect.support.oauth import AuthorizationRequest

_TIMEOUT_SECONDS = 30.0


class RehearsedSignIn:
    """A `SignIn` for tests."""

    def __init__(self, *, answers: Iterable[str] = (), press: Callable[[], object] = int) -> None:
        """`answers` are typed in this order; `press` is called when a button is waited for."""
        self._answers = list(answers)
        self._press = press
        #: Every text and question, in order.
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)

    def ask(self, question: str, *, default: str = "") -> str:
        self.shown.append(question)
        if not self._answers:
            raise AssertionError(f"no answer left for the question {question!r}")
        return self._answers.pop(0) or default

    def ask_secret(self, question: str) -> Secret:
        return Secret(self.ask(question))

    def authorize(
        self, url: str, *, redirect_uri: str, parameters: Mapping[str, str]
    ) -> AuthorizationCode:
        request = AuthorizationRequest(redirect_uri, parameters)
        location = _redirect_of(f"{url}?{urlencode(request.parameters)}")
        if not location.startswith(redirect_uri):
            raise AuthenticationFailed(f"expected a redirect to {redirect_uri}")
        query = parse_qs(urlsplit(location).query)
        return request.take({name: found[-1] for name, found in query.items()})

    def wait_for(
        self,
        text: str,
        done: Callable[[], bool],
        *,
        timeout: float = 300.0,
        pause: float = 2.0,
    ) -> None:
        self.shown.append(text)
        if not done():
            self._press()
            if not done():
                raise TargetUnavailable(f"waited {timeout:g} s in vain")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _redirect_of(url: str) -> str:
    """Return where a page sends the browser."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS):
            return ""
    except urllib.error.HTTPError as answer:
        with answer:
            return str(answer.headers.get("Location", ""))
