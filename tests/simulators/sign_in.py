"""A service one signs in to with a browser, and the browser: OAuth 2 with PKCE.

`AuthorizationServer` checks what a service checks; `browser_command()` is a program that follows
redirects, for the variable `BROWSER`.
"""

import base64
import hashlib
import shlex
import sys
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pollect.testing.http import HttpRequest, HttpResponse

CLIENT_ID = "client-of-the-test"
FOLLOW = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=30).read()"


def browser_command() -> str:
    """Return a value of `BROWSER`: opens an address, follows redirects, and ends."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(FOLLOW)} %s"


@dataclass
class AuthorizationServer:
    """The pages `authorize` and `token` of a service."""

    redirect_uri: str
    scope: str = "IoT User offline_access"
    #: What the token reply has besides the tokens, or instead of them.
    reply: dict[str, Any] = field(default_factory=lambda: {"expires_in": 3600})
    #: A page that hands out another state, as a forged link would.
    forged_state: str = ""
    #: What the operator clicks: an OAuth error instead of consent.
    refuses: str = ""
    sends_refresh_token: bool = True
    #: Answers instead of a renewal.
    renewal: HttpResponse | None = None
    tokens_given: int = 0
    renewals: int = 0
    _challenges: dict[str, str] = field(default_factory=dict)

    @property
    def access_token(self) -> str:
        """The token given out last."""
        return f"access-{self.tokens_given}-of-the-test"

    def authorize(self, request: HttpRequest) -> HttpResponse:
        query = request.query
        expected = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "code_challenge_method": "S256",
        }
        wrong = {name: query.get(name) for name in expected if query.get(name) != expected[name]}
        if wrong or len(query["state"]) < 32 or len(query["code_challenge"]) != 43:
            return HttpResponse({"error": "invalid-request", "wrong": wrong}, status=400)
        state = self.forged_state or query["state"]
        if self.refuses:
            answer = {"error": self.refuses, "state": state}
        else:
            code = f"code-{len(self._challenges)}"
            self._challenges[code] = query["code_challenge"]
            answer = {"code": code, "state": state}
        target = f"{self.redirect_uri}?{urlencode(answer)}"
        return HttpResponse("", status=302, headers={"Location": target})

    def token(self, request: HttpRequest) -> HttpResponse:
        form = request.form
        if form.get("client_id") != CLIENT_ID:
            return HttpResponse({"error": "invalid_client"}, status=400)
        if form.get("grant_type") == "refresh_token":
            self.renewals += 1
            if self.renewal is not None:
                return self.renewal
            if form.get("refresh_token") != "refresh-of-the-test":
                return HttpResponse({"error": "invalid_grant"}, status=400)
            return self._tokens()
        challenge = self._challenges.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge:
            return HttpResponse({"error": "invalid_grant"}, status=400)
        if form.get("redirect_uri") != self.redirect_uri:
            return HttpResponse({"error": "redirect_uri_mismatch"}, status=400)
        return self._tokens()

    def _tokens(self) -> HttpResponse:
        self.tokens_given += 1
        reply = {"access_token": self.access_token, "token_type": "Bearer"}
        if self.sends_refresh_token:
            reply["refresh_token"] = "refresh-of-the-test"
        return HttpResponse({**reply, **self.reply})
