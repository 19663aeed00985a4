"""The connection to the broker: paho-mqtt's thread, and what the broker should hold.

A `Session` knows the payload wanted for every topic. What changes is published at once; after a
reconnect, or when Home Assistant restarted, everything is published again. So a broker that
forgot all is complete again before the next value comes.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pollect.api import Retryable
from pollect.support.connect import describe_failure
from pollect.support.options import ClientTls
from pollect_writers.mqtt.config import MqttConfig

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import Client, MQTTMessageInfo

ONLINE, OFFLINE = b"online", b"offline"
#: Seconds between two tries to connect, growing from the first to the second.
_RECONNECT_SECONDS = (1, 10)
#: Seconds to wait for a connection before the first complaint, unless it is known sooner why there
#: is none.
_FIRST_PATIENCE = 2.0
#: The same after it. The longer, the sooner values flow when the broker comes back: the pause after
#: a failed call would not notice.
_PATIENCE = 20.0
#: Seconds the broker may take for one message more.
_PUBLISH_SECONDS = 10.0
#: Seconds for the farewell at the end.
_CLOSE_SECONDS = 2.0
_GLANCE_SECONDS = 0.2
_CONNECT_SECONDS = 5.0


class _Message(NamedTuple):
    payload: bytes
    retain: bool


class Session:
    """One client at one broker. Raises `Retryable` for everything that goes wrong there."""

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        status_topic: str,
        *,
        stopping: threading.Event,
        log: logging.Logger,
    ) -> None:
        self._config = config
        self._client_id = client_id
        self._status_topic = status_topic
        self._stopping = stopping
        self._log = log
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._connected = False
        #: How many there were.
        self._connections = 0
        #: Why there is no connection, as far as it is known.
        self._reason = ""
        self._patience = _FIRST_PATIENCE
        #: What the broker should hold, by topic.
        self._wanted: dict[str, _Message] = {}
        #: Topics it should forget, until it did.
        self._cleared: set[str] = set()

    @property
    def place(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def open(self, new_client: "Callable[[str], Client]", folder: Path) -> None:
        """Begin to connect; returns at once."""
        client = new_client(self._client_id)
        config = self._config
        if config.user is not None or config.password:
            client.username_pw_set(config.user, config.password.reveal() or None)
        if config.tls is not None:
            client.tls_set_context(_tls_context(config.tls, folder))
        client.will_set(self._status_topic, OFFLINE, config.qos, retain=True)
        client.reconnect_delay_set(*_RECONNECT_SECONDS)
        client.connect_timeout = _CONNECT_SECONDS
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(config.host, config.port, config.keepalive)
        client.loop_start()
        self._client = client

    def put(self, messages: Mapping[str, bytes], *, retain: bool = True) -> None:
        """Note what the broker should hold, an empty payload for what it should forget."""
        with self._changed:
            for topic, payload in messages.items():
                self._wanted[topic] = _Message(payload, retain)
            self._cleared.difference_update(messages)
            self._cleared.update(topic for topic, payload in messages.items() if not payload)

    def forget(self, topics: Iterable[str]) -> None:
        """Leave these topics as they are, and out of what a broker that comes back gets."""
        with self._changed:
            for topic in topics:
                self._wanted.pop(topic, None)
                self._cleared.discard(topic)

    def wait_for_connection(self) -> "Client":
        """Return when there is a connection; raises `Retryable` when none comes."""
        began = time.monotonic()
        with self._changed:
            while self._client is None or not self._connected:
                # At the end, too: a daemon that runs but a moment has something to deliver as well.
                hurry = self._patience == _FIRST_PATIENCE or self._stopping.is_set()
                patience = _FIRST_PATIENCE if hurry else self._patience
                left = began + patience - time.monotonic()
                if left <= 0 or (hurry and self._reason):
                    self._patience = _PATIENCE
                    raise self._away()
                self._changed.wait(min(left, _GLANCE_SECONDS))
            return self._client

    def publish(self, topics: Iterable[str]) -> None:
        """Publish what is wanted for `topics`; returns when the broker has them."""
        client = self.wait_for_connection()
        with self._changed:
            cleared = sorted(self._cleared)
            every = dict.fromkeys((*cleared, *topics))
            pending = [
                self._send(client, topic, self._wanted[topic])
                for topic in every
                if topic in self._wanted
            ]
            connection = self._connections
        self._wait_for(pending, connection)
        self._patience = _FIRST_PATIENCE
        self.forget(cleared)

    def close(self) -> None:
        """Say goodbye and disconnect; does nothing when not open."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._connected:
            farewell = client.publish(self._status_topic, OFFLINE, self._config.qos, retain=True)
            until = time.monotonic() + _CLOSE_SECONDS
            while self._connected and time.monotonic() < until and not _is_published(farewell):
                time.sleep(_GLANCE_SECONDS / 20)
        client.disconnect()
        client.loop_stop()
        self._connected = False

    def _send(self, client: "Client", topic: str, message: _Message) -> "MQTTMessageInfo":
        return client.publish(topic, message.payload, self._config.qos, retain=message.retain)

    def _wait_for(self, pending: "list[MQTTMessageInfo]", connection: int) -> None:
        """Wait until all messages were sent, or with a quality of service acknowledged."""
        for info in pending:
            until = time.monotonic() + _PUBLISH_SECONDS
            while not _is_published(info):
                if not self._connected:
                    raise self._away()
                if self._connections != connection:
                    raise Retryable(f"{self.place}: the connection was lost")
                if time.monotonic() > until:
                    raise Retryable(f"{self.place}: messages not taken in {_PUBLISH_SECONDS:g} s")
                try:
                    info.wait_for_publish(_GLANCE_SECONDS)
                except (RuntimeError, ValueError) as error:
                    raise Retryable(f"{self.place}: {error}") from error

    def _away(self) -> Retryable:
        return Retryable(f"{self.place}: {self._reason or 'no answer'}")

    # What follows runs in the thread of paho-mqtt, which an exception would end.

    def _on_connect(
        self, client: "Client", userdata: object, flags: object, reason: Any, properties: object
    ) -> None:
        if reason.is_failure:
            self._lost(f"refused: {reason}")
            return
        # paho-mqtt would repeat what the broker did not acknowledge behind what is newer.
        client.drop_out_messages()
        with self._changed:
            self._connected, self._reason = True, ""
            self._connections += 1
            self._changed.notify_all()
            self._publish_all(client)
        if self._config.hass_autodiscovery:
            client.subscribe(self._birth_topic)

    def _on_connect_fail(self, client: "Client", userdata: object) -> None:
        # paho-mqtt calls this while it handles the error, and tells it in no other way.
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._lost(describe_failure(error))
        else:
            self._lost(str(error) or type(error).__name__)

    def _on_disconnect(
        self, client: "Client", userdata: object, flags: object, reason: Any, properties: object
    ) -> None:
        # After a refusal the end of the connection says nothing new.
        if self._connected:
            self._lost(f"connection lost: {reason}")

    def _on_message(self, client: "Client", userdata: object, message: Any) -> None:
        # Home Assistant is back and has forgotten what is not retained.
        if message.topic == self._birth_topic and message.payload == ONLINE:
            with self._changed:
                self._publish_all(client)

    def _publish_all(self, client: "Client") -> None:
        for topic, message in self._wanted.items():
            self._send(client, topic, message)

    def _lost(self, reason: str) -> None:
        with self._changed:
            self._connected, self._reason = False, reason
            self._changed.notify_all()

    @property
    def _birth_topic(self) -> str:
        return f"{self._config.discovery_prefix}/status"


def _is_published(info: "MQTTMessageInfo") -> bool:
    try:
        return info.is_published()
    except (RuntimeError, ValueError):  # not connected, which the caller sees as well
        return False


def _tls_context(tls: ClientTls, folder: Path) -> "ssl.SSLContext":
    """Return the client side of TLS. Raises `Retryable` when a file cannot be read."""
    from pollect.support.tls import build_ssl_context  # 4 MB, for those who use TLS

    try:
        return build_ssl_context(**tls.files(folder))
    except OSError as error:
        raise Retryable(f"cannot use the files of `tls`: {describe_failure(error)}") from error
