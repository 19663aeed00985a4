"""The client's side of an OAuth authorization: challenge, `state`, and what comes back.

RFC 6749 section 4.1 and RFC 7636 (PKCE). A source that lets the operator use a browser needs none
of it: `SignIn.authorize` does all. This is for one that follows the redirect itself.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping

from pollect.errors import AuthenticationFailed, BadResponse
from pollect.plugin import AuthorizationCode, Secret

#: Bytes of chance in verifier and state.
_CHANCE_BYTES = 48
_QUOTED_CHARACTERS = 80


class AuthorizationRequest:
    """One request for a code. `parameters` of the service come first, such as `client_id`."""

    def __init__(self, redirect_uri: str, parameters: Mapping[str, str]) -> None:
        self._verifier = secrets.token_urlsafe(_CHANCE_BYTES)
        self._state = secrets.token_urlsafe(_CHANCE_BYTES)
        self._redirect_uri = redirect_uri
        digest = hashlib.sha256(self._verifier.encode()).digest()
        #: The whole query of the authorization endpoint.
        self.parameters = {
            **parameters,
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "state": self._state,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }

    def take(self, values: Mapping[str, str], *, by_browser: bool = True) -> AuthorizationCode:
        """Return the code in the query of a redirect.

        One that came by a browser must bring our `state`, so that no one slips in another account's
        code in; one that a service answered directly may leave it out. Raises `BadResponse` for
        the answer to another request or one without a code, and `AuthenticationFailed` when the
        service refuses.
        """
        state = values.get("state", "" if by_browser else self._state)
        if not secrets.compare_digest(state.encode(), self._state.encode()):
            raise BadResponse(
                "this answer belongs to another sign-in (its state differs); start from the page"
            )
        if "error" in values:
            reason = values.get("error_description") or values["error"]
            raise AuthenticationFailed(f"the service refused: {reason[:_QUOTED_CHARACTERS]}")
        if not values.get("code"):
            raise BadResponse("there is no code in this answer")
        return self.answer(values["code"])

    def answer(self, code: str) -> AuthorizationCode:
        """Return a code, typed by the operator, with what belongs to it."""
        return AuthorizationCode(Secret(code), Secret(self._verifier), self._redirect_uri)
