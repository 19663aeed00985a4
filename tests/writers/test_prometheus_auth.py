"""Passwords under attack: how many are hashed, for whom, and what the time of an answer tells."""

import base64
import contextlib
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pollect.api import Batch, ConfigError, Metric, SourceId
from pollect.support.http_server import Limits
from pollect.testing.waiting import wait_until
from pollect_writers.prometheus import auth
from pollect_writers.prometheus.auth import PasswordHash
from pollect_writers.prometheus.writer import PrometheusWriter
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.writers.prometheus_scraper import build_prometheus, request, serving

BATCH = Batch(SourceId("pollect", "LoadAvg"), [Metric("x").sample(1)], 0.0)
LINE = "pollect_LoadAvg_x 1.0\n"
PASSWORD = "correct horse"
TOKEN = {"Authorization": "Bearer of-the-test"}


class Hashing:
    """Stands in the way of every hash until `go_on`, and notes which were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.made: list[tuple[int, bytes]] = []
        apply = PasswordHash.apply

        def wait_and_apply(known: PasswordHash, password: bytes) -> bytes:
            self.made.append((known.log2_n, password))
            self.go_on.wait(30)
            return apply(known, password)

        monkeypatch.setattr(PasswordHash, "apply", wait_and_apply)


@pytest.fixture(scope="module")
def password_hash() -> str:
    return str(PasswordHash.of(PASSWORD))


@pytest.fixture
def endpoint(password_hash: str) -> Iterator[PrometheusWriter]:
    section = {"users": {"ann": password_hash}, "token": "of-the-test"}
    with serving(build_prometheus(auth=section)) as writer:
        writer.write([BATCH])
        yield writer


def basic(user: str, password: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def guess(writer: PrometheusWriter, password: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", writer.port), timeout=30)
    header = basic("ann", password)["Authorization"]
    client.sendall(f"GET / HTTP/1.1\r\nAuthorization: {header}\r\n\r\n".encode())
    return client


def test_guesses_beyond_a_short_queue_are_refused_at_once_and_a_token_still_enters(
    endpoint: PrometheusWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = Hashing(monkeypatch)
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(guess(endpoint, f"guess {n}")) for n in range(40)]
        refused: dict[socket.socket, bytes] = {}

        def are_refused() -> bool:
            readable, _, _ = select.select(set(clients) - refused.keys(), [], [], 0)
            refused.update({client: client.recv(1000) for client in readable})
            return len(refused) == len(clients) - auth._MAX_WAITING

        wait_until(are_refused)
        for answer in refused.values():
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in answer
        wait_until(lambda: hashing.made, "the first hash")
        assert len(hashing.made) == 1, "one hash at a time"
        assert request(endpoint, headers=TOKEN).text.endswith(LINE)
        assert threading.active_count() <= threads + Limits().threads + 1
        hashing.go_on.set()
        for client in set(clients) - refused.keys():
            assert client.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert len(hashing.made) == auth._MAX_WAITING


def test_nothing_is_hashed_for_clients_that_are_gone(
    endpoint: PrometheusWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = Hashing(monkeypatch)
    with guess(endpoint, "first"):
        wait_until(lambda: len(hashing.made) == 1)

        def is_queue_full() -> bool:
            with guess(endpoint, "gone") as client, contextlib.suppress(TimeoutError):
                client.settimeout(0.1)
                return client.recv(1000).startswith(b"HTTP/1.1 503 ")
            return False

        wait_until(is_queue_full)
        hashing.go_on.set()
        wait_until(lambda: request(endpoint, headers=basic("ann", "last")).status == 401)
    assert [password for _, password in hashing.made] == [b"first", b"last"]


def test_who_was_in_once_enters_while_others_guess(
    endpoint: PrometheusWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert request(endpoint, headers=basic("ann", PASSWORD)).status == 200
    hashing = Hashing(monkeypatch)
    with contextlib.ExitStack() as stack:
        for number in range(40):
            stack.enter_context(guess(endpoint, f"guess {number}"))
        assert request(endpoint, headers=basic("ann", PASSWORD)).text.endswith(LINE)
        hashing.go_on.set()


def cheap_hash(password: str, log2_n: int) -> str:
    empty = PasswordHash(log2_n, 8, 1, os.urandom(16), b"\0" * 32)
    return str(empty._replace(hash=empty.apply(password.encode())))


def test_a_name_costs_the_same_whether_it_is_known_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one cost for all users, an unknown name has that cost; with two, either of them."""
    names = [f"name {number}" for number in range(30)]
    for costs in ([4], [4, 6]):
        users = {f"user {cost}": cheap_hash(PASSWORD, cost) for cost in costs}
        with serving(build_prometheus(auth={"users": users})) as writer:
            with monkeypatch.context() as patched:
                hashing = Hashing(patched)
                hashing.go_on.set()
                for _ in range(2):
                    for name in names:
                        assert request(writer, headers=basic(name, "x")).status == 401
        used = [cost for cost, _ in hashing.made]
        assert set(used) == set(costs)
        assert used[: len(names)] == used[len(names) :], "a name has the same cost each time"


def phc(log2_n: int, block_size: int, parallel: int) -> str:
    return f"$scrypt$ln={log2_n},r={block_size},p={parallel}$c2FsdA$aGFzaA"


@pytest.mark.parametrize("costs", [(1, 1, 1), (17, 8, 1), (1, 16, 1), (1, 8, 4)])
def test_a_hash_may_cost_as_much_as_the_limit(costs: tuple[int, int, int]) -> None:
    with serving(build_prometheus(auth={"users": {"ann": phc(*costs)}})) as writer:
        assert request(writer).status == 401


@pytest.mark.parametrize(
    "costs", [(0, 8, 1), (18, 8, 1), (14, 0, 1), (14, 17, 1), (14, 8, 0), (14, 8, 5)]
)
def test_a_hash_that_costs_more_than_the_limit_is_refused_with_its_key(
    costs: tuple[int, int, int],
) -> None:
    with pytest.raises(ConfigError, match="asks for more work than a scrape may cost") as raised:
        with serving(build_prometheus(auth={"users": {"ann": phc(*costs)}})):
            pass
    assert raised.value.key == "auth.users.ann"


def test_credentials_without_a_colon_are_refused_even_beside_an_empty_password() -> None:
    with serving(build_prometheus(auth={"users": {"ann": cheap_hash("", 4)}})) as writer:
        name_alone = base64.b64encode(b"ann").decode()
        assert request(writer, headers={"Authorization": f"Basic {name_alone}"}).status == 401
        assert request(writer, headers=basic("ann", "")).status == 200


@pytest.mark.parametrize(
    ("section", "offered"),
    [
        (["users"], ["Basic"]),
        (["token"], ["Bearer"]),
        (["users", "token"], ["Basic", "Bearer"]),
    ],
)
def test_a_refusal_offers_the_ways_in_that_there_are(
    section: list[str], offered: list[str]
) -> None:
    ways = {"users": {"ann": cheap_hash(PASSWORD, 4)}, "token": "of-the-test"}
    with serving(build_prometheus(auth={key: ways[key] for key in section})) as writer:
        refusal = request(writer).headers["www-authenticate"]
    assert re.findall(r'(\w+) realm="pollect"', refusal) == offered


@pytest.mark.parametrize("password", ["", PASSWORD, "x"])
@pytest.mark.parametrize("user", ["bob", "", "ANN", "ann\0"])
def test_an_unknown_user_never_enters(user: str, password: str) -> None:
    with serving(build_prometheus(auth={"users": {"ann": cheap_hash("", 4)}})) as writer:
        assert request(writer, headers=basic(user, password)).status == 401
        assert request(writer, headers=basic("ann", "")).status == 200


def test_a_token_beyond_ascii_enters() -> None:
    with serving(build_prometheus(auth={"token": "schlüssel"})) as writer:
        for sent in ("schlüssel", "schlüssel".encode().decode("latin-1")):
            assert request(writer, headers={"Authorization": f"Bearer {sent}"}).status == 200
        assert request(writer, headers={"Authorization": "Bearer schl?ssel"}).status == 401


def test_a_flood_of_wrong_passwords_leaves_the_endpoint_to_those_who_may_enter(
    endpoint: PrometheusWriter,
) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for number in range(800):
            stack.enter_context(guess(endpoint, f"guess {number}"))
        started = time.monotonic()
        assert request(endpoint, headers=TOKEN).text.endswith(LINE)
        assert time.monotonic() - started < IN_TIME_SECONDS
        assert threading.active_count() <= threads + Limits().threads + 1
