import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from pollect.testing import (
    CertificateAuthority,
    HttpResponse,
    Misbehaviour,
    absent_port,
    hang_up,
    no_leaks,
    serve_http,
    serve_tcp,
    serve_udp,
    stand_in,
    stay_silent,
    talk_rubbish,
    wait_until,
)

PATIENCE_SECONDS = 0.2


def fetch(url: str, **options):
    with urllib.request.urlopen(url, timeout=30, **options) as response:
        return response.read()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_http_routes_answer_text_data_and_functions() -> None:
    routes = {
        "/text": "hello",
        "/data": {"power": 5},
        "/echo": lambda request: request.query,
        "POST /data": lambda request: HttpResponse(request.json(), status=201),
    }
    with no_leaks(), serve_http(routes) as server:
        assert fetch(f"{server.url}/text") == b"hello"
        assert json.loads(fetch(f"{server.url}/data")) == {"power": 5}
        assert json.loads(fetch(f"{server.url}/echo?a=1&b=")) == {"a": "1", "b": ""}
        request = urllib.request.Request(f"{server.url}/data", data=b'{"a": 1}', method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            assert (response.status, json.load(response)) == (201, {"a": 1})
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            fetch(f"{server.url}/nowhere")
        refused.value.close()
        methods = [request.method for request in server.requests]
        assert methods == ["GET", "GET", "GET", "POST", "GET"]


def test_http_keeps_a_connection_and_stop_ends_it() -> None:
    with no_leaks(), serve_http({"/": "hello"}) as server:
        client = http.client.HTTPConnection(server.host, server.port, timeout=30)
        for _ in range(3):
            client.request("GET", "/")
            assert client.getresponse().read() == b"hello"
        assert server.accepted == 1
        client.close()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Misbehaviour.SILENT, TimeoutError),
        (Misbehaviour.HANG_UP, http.client.RemoteDisconnected),
        (Misbehaviour.RUBBISH, http.client.BadStatusLine),
        (Misbehaviour.CUT_SHORT, http.client.IncompleteRead),
    ],
)
def test_http_misbehaves_on_request(how: Misbehaviour, error: type[Exception]) -> None:
    with no_leaks(), serve_http({"/": how}) as server:
        client = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_SECONDS)
        client.request("GET", "/")
        with closing(client), pytest.raises(error):
            client.getresponse().read()


def test_http_trickles_a_body_that_never_ends() -> None:
    with no_leaks(), serve_http({"/": Misbehaviour.TRICKLE}) as server:
        with connect(server.port) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            answer = b""
            while len(answer.partition(b"\r\n\r\n")[2]) < 2:
                answer += client.recv(100)
        assert b"Content-Length: 100000" in answer


def test_a_mistake_of_the_simulator_itself_fails_the_test() -> None:
    def mistaken(request):
        raise KeyError("typo in the test")

    with pytest.raises(KeyError, match="typo"), serve_http(mistaken) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            fetch(server.url)


def test_a_server_goes_away_and_comes_back_on_its_port() -> None:
    with serve_tcp(lambda peer: peer.sendall(b"hello")) as server:
        with connect(server.port) as client:
            assert client.recv(10) == b"hello"
        port = server.port
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        server.start()
        with connect(port) as client:
            assert client.recv(10) == b"hello"


def test_tcp_talks() -> None:
    with no_leaks(), serve_tcp(stay_silent) as server:
        with connect(server.port) as client:
            client.settimeout(PATIENCE_SECONDS)
            client.sendall(b"anybody?")
            with pytest.raises(TimeoutError):
                client.recv(1)
            server.disconnect()
            assert client.recv(1) == b""
        server.talk = talk_rubbish
        with connect(server.port) as client:
            assert client.recv(2) == b"\x1b["
        server.talk = hang_up
        with connect(server.port) as client:
            assert client.recv(1) == b""
        assert server.accepted == 3


def test_udp_answers_none_one_or_several() -> None:
    answers = {b"one": b"1", b"two": [b"1", b"2"], b"none": None}
    with no_leaks(), serve_udp(answers.__getitem__) as server:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(5)
            client.connect((server.host, server.port))
            for datagram in (b"none", b"one", b"two"):
                client.send(datagram)
            assert [client.recv(10) for _ in range(3)] == [b"1", b"1", b"2"]
            assert server.received == [b"none", b"one", b"two"]


def test_absent_port_refuses() -> None:
    with absent_port() as port, pytest.raises(ConnectionRefusedError):
        connect(port)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program")
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


def test_tls_is_trusted_through_the_authority_only(authority) -> None:
    device = authority.issue("localhost")
    with no_leaks(), serve_http({"/": "safe"}, tls=device.server_context()) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert fetch(server.url, context=authority.client_context()) == b"safe"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(server.url, context=ssl.create_default_context())


def test_an_expired_certificate_is_expired(authority) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    device = authority.issue(not_before=yesterday - timedelta(days=30), not_after=yesterday)
    with serve_http({"/": ""}, tls=device.server_context()) as server:
        with pytest.raises(urllib.error.URLError, match="expired"):
            fetch(server.url, context=authority.client_context())


def test_an_intermediate_authority_sends_its_chain(authority, tmp_path) -> None:
    intermediate = CertificateAuthority(tmp_path, "Intermediate", parent=authority)
    device = intermediate.issue()
    with serve_http({"/": "chained"}, tls=device.server_context()) as server:
        assert fetch(server.url, context=authority.client_context()) == b"chained"


def test_a_server_can_demand_a_client_certificate(authority) -> None:
    server_tls = authority.issue().server_context(client_ca=authority.certificate)
    with serve_http({"/": "mutual"}, tls=server_tls) as server:
        client = authority.issue("client").client_context(authority.certificate)
        assert fetch(server.url, context=client) == b"mutual"
        with pytest.raises((OSError, http.client.HTTPException)):
            fetch(server.url, context=authority.client_context())


def test_a_stand_in_prints_ends_and_remembers_its_arguments() -> None:
    path = os.environ["PATH"]
    with stand_in("smartctl", stdout="out\n", stderr="err", exit_code=4) as smartctl:
        for arguments in (["--json", "/dev/with space"], []):
            done = subprocess.run(["smartctl", *arguments], capture_output=True, text=True)
            assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err", 4)
        assert smartctl.calls == [["--json", "/dev/with space"], []]
    assert os.environ["PATH"] == path


def test_a_stand_in_hangs_and_runs_a_script() -> None:
    with stand_in("zpool", script='echo "pool $1"', hangs=True):
        with subprocess.Popen(["zpool", "tank"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "pool tank\n"
            assert process.poll() is None
            process.kill()


def test_no_leaks_names_a_thread_and_a_socket() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    forgotten: list[socket.socket] = []

    def careless() -> None:
        with no_leaks(limit_seconds=0.05):
            thread.start()
            forgotten.append(socket.socket())

    with pytest.raises(AssertionError, match=r"left behind: thread 'forgotten', socket of file"):
        careless()
    end.set()
    thread.join()
    forgotten[0].close()


def test_wait_until_gives_what_came_or_says_what_did_not() -> None:
    answers = iter([None, 0, "there"])
    assert wait_until(lambda: next(answers)) == "there"
    with pytest.raises(AssertionError, match="in vain for the moon"):
        wait_until(lambda: False, "the moon", limit_seconds=0.02)
