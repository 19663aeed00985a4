"""`HttpIngress` with real clients: well-behaved, wrong, slow, many at once."""

import base64
import contextlib
import gzip
import http.client
import json
import re
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.api import ConfigError, NoData, Secret, TargetUnavailable
from pollect.testing import FakeClock, build_source, wait_until
from pollect_sources_network.http_ingress.payload import Definition, Refused, parse_push
from pollect_sources_network.http_ingress.source import HttpIngressSource
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.samples import values

QUEUE: dict[str, Any] = {"queue": {"labels": ["site"]}}
JSON = {"Content-Type": "application/json"}


class Client:
    """Keeps one connection, as a good client does."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.http: http.client.HTTPConnection
        if tls is None:
            self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        else:
            self.http = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)

    def send(
        self, method: str, body: bytes | str = b"", headers: dict[str, str] = JSON, path: str = "/"
    ) -> tuple[int, Any]:
        self.http.request(method, path, body, headers)
        response = self.http.getresponse()
        return response.status, json.loads(response.read())

    def push(self, metrics: object, **headers: str) -> tuple[int, Any]:
        return self.send("POST", json.dumps({"metrics": metrics}), {**JSON, **headers})


@contextlib.contextmanager
def listening(**section: object) -> Iterator[tuple[HttpIngressSource, Client]]:
    section = {"port": 0, "bind": "127.0.0.1", "metrics": QUEUE, **section}
    state = section.pop("state_dir", None)
    clock = section.pop("clock", None)
    source = build_source(section, HttpIngressSource, state_dir=state, clock=clock)  # type: ignore[arg-type]
    assert isinstance(source, HttpIngressSource)
    source.open()
    client = Client(source.port)
    try:
        yield source, client
    finally:
        client.http.close()
        source.close()


def test_every_label_set_keeps_its_value() -> None:
    with listening() as (source, client):
        for site, value in (("north", 1), ("south", 2), ("north", 3)):
            pushed = {"queue": {"value": value, "labels": {"site": site}}}
            assert client.push(pushed) == (200, {"status": "metrics updated"})
        assert values(source.probe()) == {
            "queue{site=north}": 3,
            "{site=north}": 3,
            "queue{site=south}": 2,
            "{site=south}": 2,
        }


def test_counters_add_up_per_label_set() -> None:
    metrics = {"jobs": {"type": "counter", "labels": ["host"]}, "load": {}}
    with listening(metrics=metrics) as (source, client):
        for host in ("a", "b", "a"):
            client.push({"jobs": {"value": 2, "labels": {"host": host}}, "load": {"value": 0.5}})
        assert values(source.probe()) == {"jobs{host=a}": 4, "jobs{host=b}": 2, "load": 0.5}


def test_several_label_sets_fit_in_one_push() -> None:
    entries = [{"value": value, "labels": {"site": str(value)}} for value in (1, 2)]
    with listening() as (source, client):
        assert client.push({"queue": entries})[0] == 200
        assert {"queue{site=1}", "queue{site=2}"} < values(source.probe()).keys()


def test_values_labels_and_defaults_are_those_of_1x() -> None:
    with listening(metrics={"a": {"labels": ["l"]}, "b": {}}) as (source, client):
        client.push({"a": {"value": "1.5", "labels": {"l": 7, "surplus": "x"}}, "b": {}})
        assert values(source.probe()) == {"a{l=7}": 1.5, "b": 0}


@pytest.mark.parametrize("kind", ["application/json", "text/json; charset=utf-8", "a/b+json"])
def test_json_is_json_by_any_name_and_path(kind: str) -> None:
    with listening() as (_, client):
        body = '{"metrics": {"queue": {"labels": {"site": "n"}}}}'
        assert client.send("POST", body, {"Content-Type": kind}, path="/any/where?x")[0] == 200
        assert client.send("PUT", body, {"Content-Type": kind})[0] == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PATCH", "PURGE"])
def test_other_methods_tell_that_it_is_alive(method: str) -> None:
    with listening(token="secret") as (_, client):
        assert client.send(method, headers={}) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("{}", 'expected an object like {"metrics": {"<name>": {"value": 1}}}'),
        ("[]", 'expected an object like {"metrics": {"<name>": {"value": 1}}}'),
        ('{"metrics": {"other": {}}}', "Metric def other not found"),
        ('{"metrics": {"queue": {"value": 1}}}', "Missing label: site"),
        (
            r'{"metrics": {"queue": {"value": 1, "labels": {"site": "caf\udce9"}}}}',
            r"queue: label site is not valid Unicode: 'caf\udce9'",
        ),
        ('{"metrics": {"queue": {"labels": {"sit": 1}}}}', "Missing label: site"),
        ('{"metrics": {"queue": 5}}', 'queue: expected an object like {"value": 1, "labels": {}}'),
        (
            '{"metrics": {"queue": {"labels": {"site": null}}}}',
            "queue: expected text as label site, got null",
        ),
        *(
            (
                f'{{"metrics": {{"queue": {{"value": {value}, "labels": {{"site": "n"}}}}}}}}',
                f"queue: expected a finite number as value, got {value}",
            )
            for value in ('"warm"', "true", "null", "NaN", "Infinity", "[1]")
        ),
        ('{"metrics": {"queue": {"labels": []}}}', "queue: expected the labels as an object"),
        ("[" * 100_000, "the document is nested too deeply"),
    ],
)
def test_wrong_pushes_say_what_is_wrong_and_change_nothing(body: str, error: str) -> None:
    with listening() as (source, client):
        client.push({"queue": {"value": 1, "labels": {"site": "n"}}})
        assert client.send("POST", body) == (400, {"error": error})
        assert client.send("GET") == (200, {"status": "alive"})
        assert values(source.probe())["queue{site=n}"] == 1


def test_a_push_counts_as_a_whole_or_not_at_all() -> None:
    with listening(metrics={"good": {}, "bad": {}}) as (source, client):
        assert client.push({"good": {"value": 1}, "bad": {"value": "x"}})[0] == 400
        with pytest.raises(NoData):
            source.probe()


def test_content_type_must_be_json() -> None:
    with listening() as (_, client):
        answer = client.send("POST", "{}", {"Content-Type": "text/plain"})
        assert answer == (400, {"error": "content-type must be json"})
        assert client.send("POST", "{}", {}) == (400, {"error": "content-type must be json"})


def test_token_is_asked_for() -> None:
    with listening(token="hunter2") as (source, client):
        pushed = {"queue": {"labels": {"site": "n"}}}
        for wrong in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic aHVudGVyMg=="}):
            assert client.push(pushed, **wrong) == (401, {"error": "unauthorized"})
        assert client.push(pushed, Authorization="Bearer hunter2")[0] == 200
        assert source.config.token == Secret("hunter2")
        assert "hunter2" not in repr(source.config)


def test_token_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\n")
    with listening(tokenFile=str(file)) as (_, client):
        assert client.send("POST", "{}")[0] == 401
    with pytest.raises(TargetUnavailable, match="No such file"), listening(tokenFile="absent"):
        pass
    file.write_text("\n")
    with pytest.raises(TargetUnavailable, match="it is empty"), listening(tokenFile=str(file)):
        pass


def basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode()


@pytest.mark.parametrize("token", [{}, {"token": "t0ken"}], ids=["alone", "beside a token"])
def test_user_and_password_are_asked_for(token: dict[str, str]) -> None:
    section = {"basicAuth": {"username": "sensor", "password": "hüter2"}, **token}
    pushed = {"queue": {"labels": {"site": "n"}}}
    with listening(**section) as (source, client):
        wrong = [
            "",
            "Basic",
            "Bearer",
            "Bearer no",
            "Basic %%%",
            basic("sensor:"),
            basic(":hüter2"),
        ]
        for header in wrong:
            headers = {"Authorization": header} if header else {}
            assert client.push(pushed, **headers) == (401, {"error": "unauthorized"})
        assert client.push(pushed, Authorization=basic("sensor:hüter2"))[0] == 200
        assert client.push(pushed, Authorization="Bearer t0ken")[0] == (200 if token else 401)
        client.http.request("POST", "/", b"{}", JSON)
        response = client.http.getresponse()
        challenges = response.headers.get_all("WWW-Authenticate")
        assert challenges == [*(["Bearer"] if token else []), 'Basic realm="pollect"']
        response.read()
        assert client.send("GET") == (200, {"status": "alive"})
        assert "hüter2" not in repr(source.config)


def test_only_the_paths_that_are_named_take_requests() -> None:
    pushed = '{"metrics": {"queue": {"value": 4, "labels": {"site": "n"}}}}'
    refused = (404, {"error": "nothing is taken at this path"})
    with listening(paths=["/push", "/metrics/job"]) as (source, client):
        assert client.send("POST", pushed, path="/") == refused
        assert client.send("GET", path="/push/more") == refused
        assert client.send("POST", pushed, path="/push?from=here")[0] == 200
        assert client.send("GET", path="/metrics/job")[0] == 200
        assert values(source.probe())["queue{site=n}"] == 4


@pytest.mark.integration
def test_curl_pushes_as_the_manual_says() -> None:
    curl = find_program("curl", "curl")
    with listening(basicAuth={"username": "a", "password": "b"}, token="t") as (source, _):
        url = f"http://127.0.0.1:{source.port}/"
        body = '{"metrics": {"queue": {"value": 7, "labels": {"site": "north"}}}}'
        for credentials in (["-u", "a:b"], ["-H", "Authorization: Bearer t"]):
            command = [curl, "-sS", "--fail", "-H", "Content-Type: application/json", "-d", body]
            done = subprocess.run([*command, *credentials, url], capture_output=True, check=True)
            assert json.loads(done.stdout) == {"status": "metrics updated"}
        assert values(source.probe())["queue{site=north}"] == 7


def test_too_large_and_unmeasured_bodies_are_refused() -> None:
    with listening(maxBodySize=1000) as (_, client):
        status, answer = client.send("POST", b"x" * 1_000_000)
        assert (status, answer) == (413, {"error": "the body is larger than 1000 bytes"})
        packed = gzip.compress(b" " * 100_000)
        headers = {**JSON, "Content-Encoding": "gzip"}
        assert client.send("POST", packed, headers)[0] == 413
        client.http.putrequest("POST", "/")
        client.http.endheaders()
        assert client.http.getresponse().status == 411


def test_gzip_and_chunks_are_understood() -> None:
    body = b'{"metrics": {"queue": {"value": 9, "labels": {"site": "n"}}}}'
    with listening() as (source, client):
        headers = {**JSON, "Content-Encoding": "gzip"}
        assert client.send("POST", gzip.compress(body), headers)[0] == 200
        assert client.send("POST", b"no gzip", headers)[0] == 400
        client.http.request("POST", "/", iter([body[:7], body[7:]]), JSON, encode_chunked=True)
        assert client.http.getresponse().read() == b'{"status": "metrics updated"}'
        assert values(source.probe())["queue{site=n}"] == 9


def test_delete_forgets_label_sets() -> None:
    with listening() as (source, client):
        for site in "ab":
            client.push({"queue": {"labels": {"site": site}}})
        body = '{"metrics": {"queue": {"labels": {"site": "a"}}}}'
        assert client.send("DELETE", body) == (200, {"status": "metrics removed"})
        assert values(source.probe()).keys() == {"queue{site=b}", "{site=b}"}


def test_label_sets_are_limited() -> None:
    with listening(maxSeries=2) as (source, client):
        for site in "ab":
            client.push({"queue": {"labels": {"site": site}}})
        status, answer = client.push({"queue": {"labels": {"site": "c"}}})
        assert (status, answer) == (400, {"error": "too many label sets, the limit is 2"})
        assert client.push({"queue": {"value": 5, "labels": {"site": "a"}}})[0] == 200
        assert len(values(source.probe())) == 4


def test_label_sets_expire_but_never_unseen() -> None:
    clock = FakeClock()
    metrics = {"queue": {"labels": ["site"], "expire": 30}}
    with listening(metrics=metrics, clock=clock) as (source, client):
        client.push({"queue": {"labels": {"site": "a"}}})
        clock.advance(100)
        assert "queue{site=a}" in values(source.probe())
        with pytest.raises(NoData) as caught:
            source.probe()
        assert caught.value.withdraw


def test_details_tell_when_and_how_often() -> None:
    clock = FakeClock(time=1000.0)
    with listening(details=True, clock=clock) as (source, client):
        client.push({"queue": {"labels": {"site": "a"}}})
        client.send("POST", "")
        found = values(source.probe())
    assert found["queue_last_push_timestamp{site=a}"] == 1000
    assert (found["requests{code=200}"], found["requests{code=400}"]) == (1, 1)


def test_counters_survive_a_restart_when_asked(tmp_path: Path) -> None:
    metrics = {"jobs": {"type": "counter"}}
    for total in (1, 2):
        section = {"name": "../up", "metrics": metrics, "persist": True}
        with listening(**section, state_dir=tmp_path) as (source, client):
            client.push({"jobs": {"value": 1}})
            assert values(source.probe())["jobs"] == total
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("damaged")
    with listening(**section, state_dir=tmp_path) as (source, client):
        client.push({"jobs": {"value": 1}})
        assert values(source.probe())["jobs"] == 1


def test_links_in_the_state_folder_are_neither_read_nor_written_through(tmp_path: Path) -> None:
    metrics = {"jobs": {"type": "counter"}}
    section = {"name": "up", "metrics": metrics, "persist": True}
    folder, victim = tmp_path / "state", tmp_path / "victim"
    with listening(**section, state_dir=folder) as (source, client):
        client.push({"jobs": {"value": 1}})
        source.probe()
    (file,) = folder.iterdir()
    victim.write_bytes(file.read_bytes())
    before = victim.read_bytes()
    file.unlink()
    file.symlink_to(victim)
    with listening(**section, state_dir=folder) as (source, client):
        client.push({"jobs": {"value": 5}})
        assert values(source.probe())["jobs"] == 5
    assert victim.read_bytes() == before


def test_values_outlive_a_reload_that_leaves_the_port(tmp_path: Path) -> None:
    jobs: dict[str, Any] = {"type": "counter"}
    metrics = {"jobs": jobs, "load": {}, "queue": {"labels": ["site"]}}
    later = {"jobs": jobs, "queue": {"labels": ["room"]}, "new": {}}
    with listening(metrics=metrics, persist=True, state_dir=tmp_path) as (source, client):
        entry = {"value": 1, "labels": {"site": "n"}}
        client.push({"jobs": {"value": 5}, "load": {"value": 1}, "queue": entry})
        port = source.config.port

    def reloaded(**section: Any) -> HttpIngressSource:
        options = {"port": port, "bind": "127.0.0.1", "metrics": later, **section}
        after = build_source(options, HttpIngressSource, state_dir=tmp_path)
        assert isinstance(after, HttpIngressSource)
        after.take_over(source)
        return after

    after = reloaded(persist=True)
    after.open()
    client = Client(after.port)
    client.push({"jobs": {"value": 2}})
    client.http.close()
    assert values(after.probe()) == {"jobs": 7}, "a metric that is gone or changed is left out"
    after.close()
    with pytest.raises(NoData):
        reloaded(bind="127.0.0.2").probe()


def test_port_in_use_fails_the_start_and_a_restart_works_at_once() -> None:
    with listening() as (source, client):
        port = source.port
        client.push({"queue": {"labels": {"site": "a"}}})
        with pytest.raises(TargetUnavailable, match="the port is in use"):
            with listening(port=port):
                pass
    with listening(port=port) as (_, client):
        assert client.send("GET")[0] == 200


def test_ipv6_is_served_too() -> None:
    with listening(bind="::") as (source, client):
        assert client.send("GET")[0] == 200
        with socket.create_connection(("::1", source.port)) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_tls_works_while_another_client_never_shakes_hands(
    authority: Authority, tmp_path: Path
) -> None:
    certificate = authority.write_pem(tmp_path / "server.pem", "127.0.0.1")
    with listening(tlsCert=str(certificate)) as (source, _):
        with socket.create_connection(("127.0.0.1", source.port)):
            context = ssl.create_default_context(cafile=authority.ca_file)
            client = Client(source.port, context)
            assert client.push({"queue": {"labels": {"site": "a"}}})[0] == 200
            client.http.close()


@pytest.mark.parametrize(
    "hello",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x03\x40\x00", b"\xff" * 100, b""],
    ids=["plain HTTP", "half a handshake", "rubbish", "gone at once"],
)
def test_a_client_with_broken_tls_disturbs_nobody(
    authority: Authority, tmp_path: Path, hello: bytes
) -> None:
    certificate = authority.write_pem(tmp_path / "server.pem", "127.0.0.1")
    with listening(tlsCert=str(certificate), readTimeout=0.3, maxConnections=1) as (source, _):
        with socket.create_connection(("127.0.0.1", source.port)) as sock:
            sock.settimeout(30)
            if hello:
                sock.sendall(hello)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(4096):
                        pass
        client = Client(source.port, ssl.create_default_context(cafile=authority.ca_file))

        def is_taken() -> bool:
            """On a busy machine a handshake may last longer than clients have here."""
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                contextlib.closing(client.http),
            ):
                return bool(client.push({"queue": {"labels": {"site": "a"}}})[0] == 200)
            return False

        wait_until(is_taken)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST / HTTP/1.1\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nContent-Type: a/json\r\nContent-Length: 999\r\n\r\n{",
    ],
    ids=["silent", "headers", "body"],
)
def test_slow_clients_lose_their_connection(start: bytes) -> None:
    with listening(readTimeout=0.3) as (source, _):
        with socket.create_connection(("127.0.0.1", source.port)) as sock:
            sock.sendall(start)
            begin = time.monotonic()
            sock.settimeout(0.05)
            while True:
                with contextlib.suppress(TimeoutError):
                    try:
                        if not sock.recv(4096):
                            break
                        sock.sendall(b"x")
                    except ConnectionError:
                        break
                with contextlib.suppress(ConnectionError):
                    if start:
                        sock.sendall(b"x")
                assert time.monotonic() - begin < IN_TIME_SECONDS
        assert time.monotonic() - begin >= 0.2


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_rubbish_is_refused_in_json(rubbish: bytes) -> None:
    with listening() as (source, client):
        with socket.create_connection(("127.0.0.1", source.port)) as sock:
            sock.settimeout(30)
            sock.sendall(rubbish)
            answer = b""
            while chunk := sock.recv(4096):
                answer += chunk
        assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2] or answer)
        assert client.send("GET")[0] == 200


@pytest.mark.parametrize("limit", [1, 32])
def test_silent_clients_do_not_keep_others_out(limit: int) -> None:
    """As many as there are places, and more, before a token was looked at."""
    with listening(maxConnections=limit, token="t") as (source, client):
        with contextlib.ExitStack() as stack:
            for number in range(3 * limit):
                sock = socket.create_connection(("127.0.0.1", source.port))
                stack.enter_context(sock)
                if number % 2:
                    sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"[: number + 1])
            pushed = {"queue": {"labels": {"site": "n"}}}
            assert client.push(pushed, Authorization="Bearer t")[0] == 200


def test_a_client_that_pushes_outlives_silent_ones() -> None:
    with listening(maxConnections=4) as (source, client), contextlib.ExitStack() as stack:
        pushed = {"queue": {"labels": {"site": "n"}}}
        assert client.push(pushed)[0] == 200
        local = client.http.sock.getsockname()
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", source.port)))
        assert client.push(pushed)[0] == 200
        assert client.http.sock.getsockname() == local, "it kept its connection"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain; charset=a/json",
        "text/plain;x=/json",
        "text/plain, application/json",
        "multipart/form-data; boundary=+json",
        "application/jsonp",
        "application/json-seq",
        "x/y/json",
        "/json",
        "application/x+y/json",
    ],
)
def test_what_a_web_page_can_send_unasked_is_not_json(kind: str) -> None:
    with listening() as (source, client):
        body = '{"metrics": {"queue": {"labels": {"site": "n"}}}}'
        answer = client.send("POST", body, {"Content-Type": kind})
        assert answer == (400, {"error": "content-type must be json"})
        with pytest.raises(NoData):
            source.probe()


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_pages_of_other_sites_do_not_push(site: str, status: int) -> None:
    with listening() as (_, client):
        pushed = {"queue": {"labels": {"site": "n"}}}
        assert client.push(pushed, **{"Sec-Fetch-Site": site})[0] == status


def test_a_name_that_a_stranger_could_have_registered_pushes_nothing() -> None:
    pushed = {"queue": {"labels": {"site": "n"}}}
    with listening(allowedHosts=["push.example.org"]) as (source, client):
        assert client.push(pushed, Host="evil.example")[0] == 403
        with pytest.raises(NoData):
            source.probe()
        assert client.push(pushed, Host="push.example.org:8080")[0] == 200


def test_the_text_of_labels_is_limited_each_and_together() -> None:
    with listening(maxLabelSize=20, maxStoreSize=50) as (source, client):
        for label in ("x" * 21, "ü" * 11):
            status, answer = client.push({"queue": {"labels": {"site": label}}})
            size = len(label.encode())
            assert status == 400
            assert answer == {"error": f"queue: label site has {size} bytes, the limit is 20"}
        for site in ("a" * 20, "b" * 20, "a" * 20):
            assert client.push({"queue": {"labels": {"site": site}}})[0] == 200
        full = client.push({"queue": {"labels": {"site": "c" * 20}}})
        assert full == (400, {"error": "too much text in labels, the limit is 50 bytes"})
        assert len(values(source.probe())) == 4
        body = json.dumps({"metrics": {"queue": {"labels": {"site": "a" * 20}}}})
        assert client.send("DELETE", body)[0] == 200
        assert client.push({"queue": {"labels": {"site": "c" * 20}}})[0] == 200


def test_many_pushes_of_large_labels_keep_little() -> None:
    with listening(maxBodySize=2 * 1024 * 1024) as (source, client):
        for number in range(30):
            label = f"{number}" + "x" * 1024 * 1024
            assert client.push({"queue": {"labels": {"site": label}}})[0] == 400
        with pytest.raises(NoData):
            source.probe()


def test_a_counter_never_grows_beyond_numbers(tmp_path: Path) -> None:
    metrics = {"jobs": {"type": "counter"}, "other": {}}
    section = {"metrics": metrics, "persist": True, "state_dir": tmp_path}
    with listening(**section) as (source, client):
        assert client.push({"jobs": {"value": 1.7e308}})[0] == 200
        for values_pushed in ({"value": 1e308}, [{"value": 9e307}, {"value": 9e307}]):
            answer = client.push({"other": {"value": 1}, "jobs": values_pushed})
            assert answer == (400, {"error": "jobs: the sum is beyond the largest number"})
        assert values(source.probe()) == {"jobs": 1.7e308}
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("1.7e+308", "Infinity"))
    with listening(**section) as (source, client):
        assert client.push({"jobs": {"value": 2}})[0] == 200
        assert values(source.probe()) == {"jobs": 2}


def test_a_token_beyond_ascii_enters() -> None:
    pushed = {"queue": {"labels": {"site": "n"}}}
    with listening(token="schlüssel") as (_, client):
        for sent in ("schlüssel", "schlüssel".encode().decode("latin-1")):
            assert client.push(pushed, Authorization=f"Bearer {sent}")[0] == 200
        assert client.push(pushed, Authorization="Bearer schl?ssel")[0] == 401


def test_nothing_acknowledged_is_lost_among_concurrent_clients_and_probes() -> None:
    clients, pushes = 8, 40
    metrics = {"jobs": {"type": "counter", "labels": ["client"]}, "total": {"type": "counter"}}
    failures: list[object] = []
    with listening(metrics=metrics) as (source, _):

        def run(number: int) -> None:
            client = Client(source.port)
            for _ in range(pushes):
                entry = {"value": 1, "labels": {"client": number}}
                status, answer = client.push({"jobs": entry, "total": {"value": 1}})
                if status != 200:
                    failures.append(answer)
            client.http.close()

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(NoData):
                found = values(source.probe())
                assert sum(v for k, v in found.items() if k.startswith("jobs")) == found["total"]
        for thread in threads:
            thread.join()
        found = values(source.probe())
    assert not failures
    assert found["total"] == clients * pushes
    assert all(found[f"jobs{{client={number}}}"] == pushes for number in range(clients))


def test_client_that_asks_for_it_is_told_that_the_connection_ends() -> None:
    with listening() as (_, client):
        client.http.request("GET", "/", headers={"Connection": "close"})
        response = client.http.getresponse()
        assert response.headers["Connection"] == "close"
        assert response.read() == b'{"status": "alive"}'


@pytest.mark.integration
@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_load_of_wrk_is_counted_to_the_last_push(tmp_path: Path, connection: str) -> None:
    wrk = find_program("wrk", "wrk")
    script = tmp_path / "push.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Connection"] = "{connection}"\n'
        'wrk.body = \'{"metrics": {"jobs": {"value": 1}}}\'\n'
    )
    connections = 16
    with listening(metrics={"jobs": {"type": "counter"}}) as (source, _):
        url = f"http://127.0.0.1:{source.port}/"
        command = [wrk, "-t2", f"-c{connections}", "-d1s", "-s", str(script), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        answered = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
        counted = values(source.probe())["jobs"]
    assert "Non-2xx" not in output
    assert "Socket errors" not in output
    # What was under way when wrk stopped was taken, but its answer was not read.
    assert answered <= counted <= answered + connections


def test_open_port_without_a_token_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with listening(bind=None):
        assert "accepts values from anyone" in caplog.text


@pytest.mark.parametrize(
    "access", [{"token": "t"}, {"basicAuth": {"username": "u", "password": "p"}}]
)
@pytest.mark.parametrize("bind", [None, "0.0.0.0", "::"])
def test_credentials_that_travel_in_the_clear_are_warned_about_once(
    bind: str | None, access: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with listening(bind=bind, **access) as (source, _):
        port = source.port
    assert caplog.messages == [
        f"passwords and tokens are sent unencrypted to port {port}; add `tlsCert`, "
        "or set `bind: 127.0.0.1` and put a proxy with TLS before it"
    ]


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_credentials_that_stay_on_this_host_are_fine(
    bind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(bind=bind, token="t"):
        assert caplog.messages == []


def test_credentials_under_tls_are_fine(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = authority.write_pem(tmp_path / "server.pem", "127.0.0.1")
    with listening(bind="0.0.0.0", token="t", tlsCert=str(certificate)):
        assert caplog.messages == []


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"metrics": {}}, "metrics"),
        ({"token": "a", "tokenFile": "b"}, "tokenFile"),
        ({"token": ""}, "token"),
        ({"basicAuth": {"username": ""}}, "basicAuth.username"),
        ({"paths": ["/a", "push"]}, "paths[1]"),
        ({"metrics": {"requests": {}}, "details": True}, "metrics.requests"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_source({"port": 0, "metrics": QUEUE, **section}, HttpIngressSource)
    assert caught.value.key == key


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metrics", "m", "value", "labels", "l"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES.map(json.dumps) | st.text(max_size=30))
def test_any_document_is_accepted_or_refused(text: str) -> None:
    try:
        updates = parse_push(text.encode(), {"m": Definition(("l",))})
    except Refused:
        return
    assert all(isinstance(label, str) for update in updates for label in update.labels)
