"""The connection to a FRITZ!Box through the library fritzconnection, with errors mapped."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    MissingDependency,
    ProbeError,
    Secret,
    TargetUnavailable,
)

if TYPE_CHECKING:
    from fritzconnection import FritzConnection  # type: ignore[import-untyped]

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


class FritzClient:
    """One box; connects in `__init__`, which reads the descriptions of all its services."""

    def __init__(
        self,
        address: str,
        *,
        port: int,
        user: str | None,
        password: Secret | None,
        tls: bool,
        timeout_seconds: float,
    ) -> None:
        """Connect; raises `MissingDependency` or `ProbeError`."""
        try:
            import fritzconnection
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
        self._timeout_seconds = timeout_seconds
        try:
            self._connection: FritzConnection = fritzconnection.FritzConnection(
                address=address,
                port=port,
                user=user,
                password=password.reveal() if password else None,
                timeout=timeout_seconds,
                use_tls=tls,
            )
        except _foreign_errors() as error:
            raise self._mapped(error) from _without_frames(error)

    def call(self, service: str, action: str) -> Mapping[str, Any]:
        """Return the out arguments of an action by name.

        Raises `TargetUnavailable`, `AuthenticationFailed`, or `BadResponse`, also for a service or
        an action that the box does not have.
        """
        try:
            answer: Mapping[str, Any] = self._connection.call_action(service, action)
        except _foreign_errors() as error:
            raise self._mapped(error, f" {service}/{action}") from _without_frames(error)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._connection.session.close()

    def _mapped(self, error: Exception, what: str = "") -> ProbeError:
        import requests
        from fritzconnection.core import exceptions  # type: ignore[import-untyped]

        where = f"{self._where}{what}"
        match error:
            case exceptions.FritzAuthorizationError():
                return AuthenticationFailed(f"{where}: user or password are missing or wrong")
            case requests.Timeout():
                return TargetUnavailable(f"{where}: no answer within {self._timeout_seconds:g} s")
            case requests.ConnectionError():
                return TargetUnavailable(f"{where}: {_reason(error)}")
            case exceptions.FritzConnectionException():
                # Refused while the descriptions are read: only the text tells it from the rest.
                is_absent = str(error).startswith("Unable to get a connection")
                kind = TargetUnavailable if is_absent else BadResponse
                return kind(f"{where}: {_reason(error)}")
            case _:
                kind_name = type(error).__name__
                return BadResponse(
                    f"{where}: expected an answer of a FRITZ!Box, got {kind_name}: {_reason(error)}"
                )


def _foreign_errors() -> tuple[type[Exception], ...]:
    from fritzconnection.core import exceptions

    return (OSError, exceptions.FritzConnectionException, *_STRANGE_ANSWERS)


def _reason(error: Exception) -> str:
    """Return what the network said, else what the error says."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return " ".join(str(error).split())[:_REASON_CHARACTERS]


def _without_frames(error: Exception) -> Exception:
    """Return `error` without its traceback, which holds a session that nobody else can close."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
