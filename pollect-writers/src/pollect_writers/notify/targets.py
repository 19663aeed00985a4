"""The targets of messages, by way of apprise: one object for each URL, errors without secrets.

apprise tells why it failed only in its log, which may quote addresses; it is read here and goes
nowhere else.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pollect.api import ConfigError, Retryable, Secret
from pollect_writers.notify.messages import State
from pollect_writers.optional import missing_library

if TYPE_CHECKING:
    import apprise

REQUIREMENT = "pollect-writers[notify]"
#: Parts of an address that are no secret however short they are, or too short to be one.
_SHORTEST_SECRET = 4
_SEPARATORS = re.compile(r"[/:@?&=,;#%+]+")
_MOST_REASON = 200


class Target(NamedTuple):
    """One address, ready to be sent something."""

    #: Tells it from the others without being its address; kept in the state.
    digest: str
    #: For people: `to[0] (ntfy)`.
    name: str
    service: "apprise.NotifyBase"
    secret: Secret

    def send(self, title: str, text: str, state: State) -> None:
        """Deliver one message; raises `Retryable` with the reason when it did not arrive."""
        from apprise import NotifyFormat, NotifyType
        from apprise.conversion import convert_between

        kinds = {"problem": NotifyType.FAILURE, "still": NotifyType.WARNING}
        service = self.service
        with _captured_log() as lines:
            try:
                # Not by way of `Apprise.notify`, whose pool of threads would outlive us.
                body = convert_between(  # type: ignore[no-untyped-call]
                    NotifyFormat.TEXT, service.notify_format, text
                )
                kind = kinds.get(state, NotifyType.SUCCESS)
                arrived = bool(service.notify(body=body, title=title, notify_type=kind))
            except Exception as error:  # noqa: BLE001 - a hundred plugins of a foreign library
                # Without the error itself, whose text may hold the address.
                reason = self._clean(f"{type(error).__name__}: {error}")
                raise Retryable(f"{self.name}: {reason}") from None
        if not arrived:
            reason = self._clean("; ".join(dict.fromkeys(lines))) or "it did not arrive"
            raise Retryable(f"{self.name}: {reason}")

    def _clean(self, text: str) -> str:
        """Leave out of a text what stands in the address."""
        for part in sorted(_secrets_in(self.secret.reveal()), key=len, reverse=True):
            text = text.replace(part, "***")
        return " ".join(text.split())[:_MOST_REASON]


def build_targets(addresses: Sequence[Secret], *, timeout: float) -> list[Target]:
    """Return the targets of a config.

    Raises `ConfigError` for what is not an address of apprise, and `MissingDependency` without it.
    """
    try:
        import apprise
    except ImportError as error:
        raise missing_library("apprise", REQUIREMENT) from error
    targets = []
    for position, address in enumerate(addresses):
        key = f"to[{position}]"
        with _captured_log():
            service = apprise.Apprise.instantiate(address.reveal())
        if service is None:
            raise _refusal(address.reveal(), key)
        service.socket_connect_timeout = service.socket_read_timeout = timeout
        digest = hashlib.sha256(address.reveal().encode()).hexdigest()[:16]
        name = f"{key} ({service.service_name})"
        targets.append(Target(digest, name, service, address))
    return targets


def _refusal(address: str, key: str) -> ConfigError:
    """Return what is wrong with an address, of which only the scheme is no secret."""
    import apprise

    scheme, separator, _ = address.partition("://")
    schemes: set[str] = set()
    for service in apprise.Apprise().details()["schemas"]:
        schemes.update((*(service["protocols"] or ()), *(service["secure_protocols"] or ())))
    if separator and scheme.lower() in schemes:
        hint = f"see apprise's page about {scheme.lower()}://"
        return ConfigError("the URL lacks something that this service needs", key=key, hint=hint)
    hint = "as in ntfy://host/topic, see apprise's list of services"
    return ConfigError("expected a URL that apprise knows", key=key, hint=hint)


def _secrets_in(address: str) -> set[str]:
    from urllib.parse import unquote

    scheme, _, rest = address.partition("://")
    parts = {*_SEPARATORS.split(rest), *_SEPARATORS.split(unquote(rest)), rest}
    return {part for part in parts if len(part) >= _SHORTEST_SECRET and part != scheme}


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what apprise warns of, and keep it from the log of the process."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    foreign = logging.getLogger("apprise")
    handler = Collect(logging.WARNING)
    foreign.addHandler(handler)
    foreign.propagate = False
    try:
        yield lines
    finally:
        foreign.removeHandler(handler)
