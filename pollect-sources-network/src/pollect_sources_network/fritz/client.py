"""The connection to a FRITZ!Box through the library fritzconnection, with limits and errors."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    MissingDependency,
    ProbeError,
    Secret,
)
from pollect.support.connect import SharedLimit
from pollect.support.http import limit_session

if TYPE_CHECKING:
    import requests

#: The library takes for granted that the box answers as it describes itself.
_STRANGE_ANSWERS = (
    ElementTree.ParseError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)
_REASON_CHARACTERS = 160


class NotOffered(BadResponse):
    """The box does not have the service or the action, or not for this user."""


class FritzClient:
    """One box; connects in `__init__`, which reads the descriptions of all its services.

    `timeout_seconds` is for one answer. All requests together have `limit_seconds`, from the
    beginning of connecting until `begin()` is called, and from there on again.
    """

    def __init__(
        self,
        address: str,
        *,
        port: int,
        user: str | None,
        password: Secret | None,
        tls: bool,
        timeout_seconds: float,
        limit_seconds: float,
    ) -> None:
        """Connect; raises `MissingDependency` or `ProbeError`."""
        try:
            from fritzconnection import FritzConnection  # type: ignore[import-untyped]
            from fritzconnection.core.logger import fritzlogger  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingDependency(
                "the FRITZ!Box needs the library fritzconnection: "
                "pip install 'pollect-sources-network[fritz]'",
                requirement="pollect-sources-network[fritz]",
            ) from error
        # What the library logs it raises as well, and that is said once by the engine.
        fritzlogger.disabled = True
        self._where = f"{address}:{port}"
        self._limit_seconds = limit_seconds
        self._limit = SharedLimit(self._where, timeout_seconds)
        self._session: requests.Session | None = None
        self.begin()
        client = self

        class LimitedConnection(FritzConnection):  # type: ignore[misc]
            def _load_router_api(self, *args: Any, **kwargs: Any) -> None:
                # The library's session is there, and nothing was asked of the box yet.
                client._session = self.session
                limit_session(self.session, client._limit.left, verify=False)
                super()._load_router_api(*args, **kwargs)

        try:
            self._connection = LimitedConnection(
                address=address,
                port=port,
                user=user,
                password=password.reveal() if password else None,
                use_tls=tls,
            )
        except ProbeError:
            self.close()
            raise
        except _foreign_errors() as error:
            self.close()
            raise self._mapped(error) from error

    def begin(self) -> None:
        """Give the requests from now on a new time limit."""
        self._limit.begin(self._limit_seconds)

    def call(self, service: str, action: str) -> Mapping[str, Any]:
        """Return the out arguments of an action by name.

        Raises `TargetUnavailable`, `AuthenticationFailed`, `BadResponse`, and `NotOffered` for what
        the box does not have.
        """
        try:
            answer: Mapping[str, Any] = self._connection.call_action(service, action)
        except _foreign_errors() as error:
            raise self._mapped(error, f" {service}/{action}") from error
        return answer

    def count_services(self, kind: str) -> int:
        """Return how many services of a kind the box describes; they are numbered from 1."""
        return sum(name.rstrip("0123456789") == kind for name in self._connection.services)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()

    def _mapped(self, error: Exception, what: str = "") -> ProbeError:
        from fritzconnection.core import exceptions  # type: ignore[import-untyped]

        where = f"{self._where}{what}"
        if isinstance(error, exceptions.FritzAuthorizationError):
            return AuthenticationFailed(f"{where}: user or password are missing or wrong")
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
        missing = (
            exceptions.FritzServiceError,
            exceptions.FritzActionError,
            exceptions.FritzSecurityError,
        )
        if isinstance(error, missing):
            return NotOffered(f"{where}: {reason}")
        if isinstance(error, exceptions.FritzConnectionException):
            return BadResponse(f"{where}: {reason}")
        return BadResponse(
            f"{where}: expected an answer of a FRITZ!Box, got {type(error).__name__}: {reason}"
        )


def _foreign_errors() -> tuple[type[Exception], ...]:
    import requests
    from fritzconnection.core import exceptions

    known = (requests.RequestException, exceptions.FritzConnectionException)
    return (*known, *_STRANGE_ANSWERS)
