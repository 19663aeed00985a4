"""NATS JetStream for code without asyncio: a connection made of nats-py.

Protocol: https://docs.nats.io/reference/reference-protocols/nats_api_reference. The library is
imported by `connect`; the extras `pollect-writers[nats]` and `pollect-sources-network[nats]` bring
it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pollect.errors import MissingDependency, describe
from pollect.support.brokers import BrokerError
from pollect.support.connect import describe_failure
from pollect.support.nats_options import NatsOptions
from pollect.support.options import ClientTls

if TYPE_CHECKING:
    import ssl

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo, StreamConfig
    from nats.js.client import JetStreamContext

#: How often the server is asked whether it is there while it says nothing, and how often in vain.
_PING_SECONDS = 10
_PINGS = 2
#: Error codes of JetStream: a message is too large for the stream, a stream does not exist.
_TOO_LARGE = 10054
#: What a server answers to credentials it does not take (https://docs.nats.io/reference/system/errors).
#: The protocol has no other code for an error than these words, in quotes and any case.
_REFUSALS = frozenset(
    {
        "authorization violation",
        "user authentication expired",
        "user authentication revoked",
        "account authentication expired",
    }
)
#: Seconds for the farewell at the end.
_CLOSE_SECONDS = 1.0

_Result = TypeVar("_Result")


class TooLarge(BrokerError):
    """A message is larger than the server or the stream takes: it will never do."""


class NatsConnection:
    """One connection to NATS, used by one thread; `interrupt` may come from any.

    Everything that goes wrong is a `BrokerError`. After one `connect` starts over.
    """

    def __init__(
        self,
        options: NatsOptions,
        *,
        folder: Path,
        timeout_seconds: float,
        requirement: str,
        log: logging.Logger,
    ) -> None:
        """`requirement` is what pip installs the library with, for the message without it."""
        self._options = options
        self._folder = folder
        self._timeout = timeout_seconds
        self._requirement = requirement
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._work: asyncio.Task[Any] | None = None
        self._interrupted = False
        #: What the connection last suffered from, as the library has it.
        self._trouble: Exception | None = None

    @property
    def place(self) -> str:
        """The servers, for messages: host and port of each."""
        return ",".join(urlsplit(server).netloc for server in self._options.servers)

    @property
    def connected(self) -> bool:
        """Whether the connection was good when it was last used."""
        return self._client is not None and self._client.is_connected

    def connect(self) -> None:
        """Connect unless that was done and the connection still holds.

        Raises `MissingDependency` without the library.
        """
        if self._client is not None:
            self._run(asyncio.sleep(0))  # take note of a connection that has ended meanwhile
            if self.connected:
                return
            self.close()
        try:
            from nats.aio.client import Client
        except ImportError as error:
            raise MissingDependency(
                f"nats-py is not installed; install {self._requirement!r}",
                requirement=self._requirement,
            ) from error
        self._interrupted = False
        self._trouble = None
        self._loop = asyncio.new_event_loop()
        try:
            arguments = self._arguments()
            self._client = Client()
            self._run(self._client.connect(**arguments), 2 * self._timeout)
            self._stream = self._client.jetstream(timeout=self._timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect; does nothing when not connected."""
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        self._stream = self._subscription = None
        if loop is None:
            return
        try:
            if client is not None:
                loop.run_until_complete(_give_up_after(_CLOSE_SECONDS, client.close()))
            _hang_up(loop)
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            loop.run_until_complete(asyncio.sleep(0))
        except Exception as error:  # noqa: BLE001 - of a library, at the end
            self._log.debug("close: %s", describe(error))
        finally:
            loop.close()

    def interrupt(self) -> None:
        """Let what runs in another thread fail at once."""
        self._interrupted = True
        loop, work = self._loop, self._work
        if loop is not None and work is not None:
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(work.cancel)

    def ensure_stream(self, config: "StreamConfig") -> None:
        """Make a stream unless there is one of its name, which stays as it is."""
        from nats.js.errors import NotFoundError

        async def ensure() -> None:
            stream = self._jetstream()
            try:
                await stream.stream_info(config.name or "")
            except NotFoundError:
                await stream.add_stream(config)
                self._log.info("made the stream %s", config.name)

        self._run(ensure())

    def publish(self, messages: Iterable[tuple[str, bytes, str]]) -> list[BrokerError | None]:
        """Publish messages (subject, content, id) in this order; return what became of each.

        None means that the stream has it. A repeated id is no error: the stream kept the first.
        """

        async def publish() -> list[Any]:
            stream = self._jetstream()
            calls = [
                stream.publish(subject, data, headers={"Nats-Msg-Id": name})
                for subject, data, name in messages
            ]
            return await asyncio.gather(*calls, return_exceptions=True)

        outcomes = self._run(publish(), 2 * self._timeout)
        return [
            self._translated(outcome) if isinstance(outcome, Exception) else None
            for outcome in outcomes
        ]

    def subscribe(self, stream: str, consumer: str, *, subject: str, ack_seconds: float) -> None:
        """Share in a durable consumer of a stream, which is made if there is none."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
        from nats.js.errors import NotFoundError

        config = ConsumerConfig(
            durable_name=consumer,
            description="batches of pollect",
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_seconds,
            # Each daemon limits itself; together they must not stop each other.
            max_ack_pending=100_000,
        )

        async def subscribe() -> Any:
            try:
                return await self._jetstream().pull_subscribe(
                    subject, durable=consumer, stream=stream, config=config
                )
            except NotFoundError as error:
                raise BrokerError(
                    f"{self.place}: there is no stream {stream!r} yet; the writer Nats makes it"
                ) from error

        self._subscription = self._run(subscribe())

    def consumer_info(self) -> "ConsumerInfo":
        """Return what the server knows of the consumer, its backlog for example."""
        return self._run(self._pull().consumer_info())

    def fetch(self, most: int, seconds: float) -> "list[Msg]":
        """Return messages, at most so many; waits for the first at most so long."""
        subscription = self._pull()

        async def fetch() -> "list[Msg]":
            try:
                return await subscription.fetch(most, timeout=seconds)
            except TimeoutError:
                return []

        messages = self._run(fetch(), seconds + self._timeout)
        if not messages and not self.connected:
            raise self._translated(self._trouble or ConnectionError("connection lost"))
        return messages

    def acknowledge(self, messages: "Sequence[Msg]") -> None:
        """Let the server forget messages."""

        async def acknowledge() -> None:
            for message in messages:
                await message.ack()

        if messages:
            self._run(acknowledge())

    def keep(self, messages: "Iterable[Msg]") -> None:
        """Let the server wait longer for what is not acknowledged yet."""

        async def keep() -> None:
            for message in messages:
                await message.in_progress()

        self._run(keep())

    def give_back(self, messages: "Iterable[Msg]") -> None:
        """Let the server hand messages to another one at once."""

        async def give_back() -> None:
            for message in messages:
                await message.nak()
            if self._client is not None:
                await self._client.flush(timeout=int(max(1, self._timeout)))

        self._run(give_back())

    def _jetstream(self) -> "JetStreamContext":
        if self._stream is None:
            raise BrokerError(f"{self.place}: not connected")
        return self._stream

    def _pull(self) -> "JetStreamContext.PullSubscription":
        if self._subscription is None:
            raise BrokerError(f"{self.place}: not subscribed")
        return self._subscription

    def _run(self, work: Coroutine[Any, Any, _Result], seconds: float | None = None) -> _Result:
        """Run something on the loop of this connection, `seconds` at most."""
        loop = self._loop
        if loop is None or self._interrupted:
            work.close()
            raise BrokerError(f"{self.place}: not connected")
        limit = self._timeout * 2 if seconds is None else seconds
        task = loop.create_task(_within(limit, work))
        self._work = task
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            raise BrokerError(f"{self.place}: interrupted") from error
        except BrokerError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            self._work = None

    def _translated(self, error: Exception) -> BrokerError:
        """Return an error of the library as one of ours."""
        from nats import errors
        from nats.js import errors as js

        if isinstance(error, errors.MaxPayloadError):
            most = self._client.max_payload if self._client is not None else 0
            return TooLarge(f"{self.place}: the server takes at most {most} bytes (`max_payload`)")
        if isinstance(error, js.APIError):
            reason = f"{error.description or 'refused'} (code {error.err_code or error.code})"
            kind = TooLarge if error.err_code == _TOO_LARGE else BrokerError
            return kind(f"{self.place}: {reason}")
        if isinstance(error, js.NoStreamResponseError | errors.NoRespondersError):
            return BrokerError(f"{self.place}: no stream for the subject, or JetStream is off")
        error = self._trouble or error
        text = _describe(error)
        if isinstance(error, TimeoutError):
            text = f"no answer within {self._timeout:g} s"
        return BrokerError(f"{self.place}: {text}", authentication=_refuses_credentials(error))

    async def _note(self, error: Exception) -> None:
        self._trouble = error
        self._log.debug("%s: %s", self.place, _describe(error))

    def _arguments(self) -> dict[str, Any]:
        options = self._options
        arguments: dict[str, Any] = {
            "servers": list(options.servers),
            "name": "pollect",
            "error_cb": self._note,
            # Whoever uses the connection knows better when another try is worthwhile.
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": self._timeout,
            "ping_interval": _PING_SECONDS,
            "max_outstanding_pings": _PINGS,
        }
        if options.user:
            arguments |= {"user": options.user, "password": options.password.reveal()}
        if options.token:
            arguments["token"] = options.token.reveal()
        if options.nkey_seed:
            arguments["nkeys_seed_str"] = options.nkey_seed.reveal()
        if options.credentials:
            file = self._folder / options.credentials
            _check_readable(file)
            arguments["user_credentials"] = str(file)
        context = self._tls_context()
        if context is not None:
            arguments["tls"] = context
        return arguments

    def _tls_context(self) -> "ssl.SSLContext | None":
        tls = self._options.tls
        if tls is None and not any(url.startswith("tls:") for url in self._options.servers):
            return None
        from pollect.support.tls import build_ssl_context  # 4 MB, for those who use TLS

        try:
            return build_ssl_context(**(tls or ClientTls()).files(self._folder))
        except OSError as error:
            raise BrokerError(
                f"cannot use the files of `tls`: {describe_failure(error)}"
            ) from error


def _hang_up(loop: asyncio.AbstractEventLoop) -> None:
    """Close the sockets of attempts to connect that the library gave up half-way."""
    transports: Mapping[int, asyncio.WriteTransport] = getattr(loop, "_transports", {})
    for transport in list(transports.values()):
        transport.abort()


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise BrokerError(f"cannot read the credentials: {describe_failure(error)}") from error


def _describe(error: Exception) -> str:
    """Return an error of the library in our words."""
    if isinstance(error, OSError):
        return describe_failure(error)
    text = str(error).removeprefix("nats: ").strip("' ")
    return text or type(error).__name__


def _refuses_credentials(error: Exception) -> bool:
    """Whether the server does not take the credentials, or the library cannot make use of them."""
    from nats import errors

    if isinstance(error, errors.AuthorizationError | errors.InvalidUserCredentialsError):
        return True
    # While it connects the library hands on the words of the server in its plainest error.
    return type(error) is errors.Error and _describe(error).lower() in _REFUSALS


async def _within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    async with asyncio.timeout(seconds):
        return await work


async def _give_up_after(seconds: float, work: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(TimeoutError):
        await _within(seconds, work)
