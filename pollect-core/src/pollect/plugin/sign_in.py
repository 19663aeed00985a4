"""The dialogue with the operator in which a source obtains its token, for `pollect auth`."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from pollect.plugin.config import Secret


class AuthorizationCode(msgspec.Struct, frozen=True):
    """What a browser brought back from an OAuth sign-in, to be exchanged for a token at once."""

    code: Secret
    #: The `code_verifier` that belongs to the code (PKCE, RFC 7636).
    verifier: Secret
    redirect_uri: str


class SignIn(Protocol):
    """The operator at the terminal, for `Source.sign_in`; `pollect auth` provides it."""

    def show(self, text: str) -> None:
        """Print a text. Never give it a token or a password."""

    def ask(self, question: str, *, default: str = "") -> str:
        """Return a line that the operator types; an empty one means `default`."""

    def ask_secret(self, question: str) -> Secret:
        """Return a line that is typed without being shown."""

    def authorize(
        self, url: str, *, redirect_uri: str, parameters: Mapping[str, str]
    ) -> AuthorizationCode:
        """Let the operator sign in on a page of the service, by OAuth with PKCE.

        `url` is the authorization endpoint, `parameters` what its query needs besides
        `response_type`, `redirect_uri`, `state` and the challenge, such as `client_id` and
        `scope`. With a redirect to http://localhost:PORT/ the code is taken from there, with any
        other the operator pastes it. Raises `AuthenticationFailed` when the service refuses and
        `TargetUnavailable` when nothing came back in time.
        """

    def wait_for(
        self,
        text: str,
        done: Callable[[], bool],
        *,
        timeout: float = 300.0,
        pause: float = 2.0,
    ) -> None:
        """Show `text` and call `done` until it is true, for a button that must be pressed.

        `pause` and `timeout` are in seconds. Raises `TargetUnavailable` after `timeout`, and what
        `done` raises.
        """
