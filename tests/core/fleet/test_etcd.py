"""The client of etcd's gateway: against a real etcd, and against peers that are none."""

import ssl
import subprocess
import threading

import pytest

from pollect.fleet.etcd import Endpoint, Etcd, EtcdRefused, EtcdUnavailable, parse_endpoints
from pollect.testing import serve_http, wait_until
from pollect.testing.servers import absent_port, hang_up, serve_tcp, stay_silent, talk_rubbish
from tests.core.fleet.etcd_server import EtcdServer, needs_etcd, running_etcd
from tests.simulators.certificates import Authority

integration = [needs_etcd, pytest.mark.integration]


@pytest.fixture
def server(tmp_path):
    with running_etcd(tmp_path / "data") as server:
        yield server


@pytest.fixture
def etcd(server):
    client = Etcd([server.endpoint], timeout=20.0)
    yield client
    client.close()


class TestRealEtcd:
    pytestmark = integration

    def test_keys_are_created_together_or_not_at_all(self, etcd) -> None:
        revision = etcd.create({"/f/a": "1", "/f/b": "2"})
        assert revision is not None
        assert etcd.create({"/f/b": "x", "/f/c": "3"}) is None
        found = etcd.range("/f/")
        assert [(e.key, e.value, e.revision) for e in found.entries] == [
            ("/f/a", "1", revision),
            ("/f/b", "2", revision),
        ]

    def test_keys_are_exchanged_only_while_all_have_the_revision(self, etcd) -> None:
        revision = etcd.create({"/f/a": "1"}) or 0
        etcd.replace("/f/a", "2", 0)
        assert etcd.exchange({"/f/a": "3", "/f/b": "3"}, {"/f/a": revision, "/f/b": 0}) is None
        [entry] = etcd.range("/f/").entries
        assert etcd.exchange({"/f/a": "3", "/f/b": "3"}, {"/f/a": entry.revision, "/f/b": 0})
        assert [entry.value for entry in etcd.range("/f/").entries] == ["3", "3"]

    def test_revision_is_that_of_the_last_change(self, etcd) -> None:
        revision = etcd.create({"/f/a": "1"})
        assert etcd.revision() == revision == etcd.range("/f/").revision
        etcd.replace("/other", "2", 0)
        assert etcd.revision() == revision + 1

    def test_a_lease_takes_its_keys_with_it(self, etcd) -> None:
        lease, seconds = etcd.grant(5)
        assert seconds >= 5
        etcd.create({"/f/a": "ü"}, lease)
        assert etcd.range("/f/").entries[0].lease == lease
        assert etcd.range("/f/").entries[0].value == "ü"
        assert etcd.keep_alive(lease) == seconds
        etcd.revoke(lease)
        assert etcd.range("/f/").entries == ()
        assert etcd.keep_alive(lease) == 0
        with pytest.raises(EtcdRefused, match="lease not found"):
            etcd.create({"/f/a": "1"}, lease)

    def test_a_prefix_does_not_reach_into_its_neighbour(self, etcd) -> None:
        etcd.create({"/pollect/a/x": "1", "/pollect/ab/x": "2", "/pollect/a": "3"})
        assert [entry.value for entry in etcd.range("/pollect/a/").entries] == ["1"]

    def test_watching_yields_every_change_from_a_revision_on(self, etcd) -> None:
        start = etcd.range("/f/").revision
        etcd.create({"/f/a": "1"})
        etcd.create({"/g/a": "1"})
        changes = etcd.another().watch("/f/", start + 1, quiet=5.0)
        assert next(changes) >= start + 1
        again = etcd.range("/f/").revision
        etcd.replace("/f/a", "2", 0)
        assert next(changes) == again + 1
        changes.close()

    def test_watching_ends_when_nothing_is_heard_for_a_while(self, etcd) -> None:
        changes = etcd.another().watch("/f/", 1, quiet=0.1)
        with pytest.raises(EtcdUnavailable, match="timed out"):
            next(changes)

    def test_another_thread_ends_watching_at_once(self, etcd) -> None:
        watch = etcd.another()
        ended = threading.Event()

        def work() -> None:
            with pytest.raises(EtcdUnavailable):
                next(watch.watch("/f/", 1, quiet=30.0))
            ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        while not ended.wait(0.01):
            watch.abort()
        thread.join()

    def test_a_connection_that_the_engine_closed_is_opened_again(self, server, etcd) -> None:
        etcd.range("/f/")
        server.kill()
        server.start()
        assert etcd.range("/f/").entries == ()

    def test_the_next_endpoint_is_asked_when_one_is_absent_or_hangs(self, server) -> None:
        with absent_port() as port, serve_tcp(stay_silent) as silent:
            endpoints = [Endpoint("127.0.0.1", port), Endpoint("127.0.0.1", silent.port)]
            client = Etcd([*endpoints, server.endpoint], timeout=0.3)

            def asked() -> bool:
                try:
                    return client.range("/f/").entries == ()
                except EtcdUnavailable:  # 0.3 s may be too short for a busy machine
                    return False

            wait_until(asked, "an answer of the third")
            client.close()

    def test_users_sign_in_and_a_token_that_ran_out_is_renewed(self, server, etcd) -> None:
        for command in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("auth", "enable"),
        ):
            subprocess.run(
                ["etcdctl", "--endpoints", str(server.endpoint), *command],
                check=True,
                capture_output=True,
            )
        with pytest.raises(EtcdRefused):
            etcd.range("/f/")
        user = Etcd([server.endpoint], timeout=20.0, user="root", password="secret")
        assert user.create({"/f/a": "1"}) is not None
        changes = user.another().watch("/f/", 1, quiet=5.0)
        assert next(changes)
        changes.close()
        server.kill()  # tokens of the simple kind live in the engine's memory
        server.start()
        assert user.range("/f/").entries[0].value == "1"
        user.close()
        wrong = Etcd([server.endpoint], timeout=20.0, user="root", password="wrong")
        with pytest.raises(EtcdRefused, match="authentication failed") as refused:
            wrong.range("/f/")
        assert "wrong" not in str(refused.value)
        wrong.close()


@needs_etcd
@pytest.mark.integration
def test_tls_is_spoken_and_a_foreign_authority_is_not_trusted(tmp_path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.write_pem(tmp_path / "server.pem", "127.0.0.1")
    server = EtcdServer(tmp_path / "data", tls=certificate)
    server.start()
    try:
        trusting = ssl.create_default_context(cafile=str(authority.ca_file))
        client = Etcd([server.endpoint], timeout=20.0, tls=trusting)
        assert client.create({"/f/a": "1"}) is not None
        client.close()
        stranger = Etcd([server.endpoint], timeout=20.0, tls=ssl.create_default_context())
        with pytest.raises(EtcdUnavailable, match="certificate verify failed"):
            stranger.range("/f/")
        stranger.close()
    finally:
        server.kill()


@pytest.mark.parametrize("talk", [hang_up, talk_rubbish, stay_silent])
def test_a_peer_that_is_no_etcd_is_unavailable_and_named(talk) -> None:
    with serve_tcp(talk) as peer:
        client = Etcd([Endpoint("127.0.0.1", peer.port)], timeout=0.3)
        with pytest.raises(EtcdUnavailable, match=f"etcd at 127.0.0.1:{peer.port}"):
            client.range("/f/")
        client.close()


@pytest.mark.parametrize("body", ["[]", "nonsense", "{}", '{"header": {}}', '{"kvs": 5}'])
def test_an_answer_of_another_shape_is_unavailable(body) -> None:
    with serve_http({"*": body}) as server:
        client = Etcd([Endpoint(server.host, server.port)], timeout=20.0)
        with pytest.raises(EtcdUnavailable):
            client.range("/f/")
        client.close()


@pytest.mark.parametrize(
    ("engine", "endpoints"),
    [
        ("etcd://localhost", ["localhost:2379"]),
        ("etcd://10.0.0.5:2379,10.0.0.6:2380/", ["10.0.0.5:2379", "10.0.0.6:2380"]),
        ("etcd://[::1]:4001, [fe80::1]", ["[::1]:4001", "[fe80::1]:2379"]),
    ],
)
def test_endpoints_are_read_from_the_url(engine, endpoints) -> None:
    assert [str(endpoint) for endpoint in parse_endpoints(engine)] == endpoints


@pytest.mark.parametrize(
    ("engine", "problem"),
    [
        ("http://localhost", "expected etcd://host:port"),
        ("localhost:2379", "expected etcd://host:port"),
        ("etcd://", "'': expected host:port"),
        ("etcd://a,,b", "'': expected host:port"),
        ("etcd://a:0", "expected a port from 1 to 65535, got '0'"),
        ("etcd://a:99999", "expected a port from 1 to 65535, got '99999'"),
        ("etcd://a:x", "expected a port from 1 to 65535, got 'x'"),
        ("etcd://[::1", "expected [address]:port"),
        ("etcd://user:pw@a", "use the options user and password"),
        ("etcd://a/b", "'a/b': expected host:port"),
    ],
)
def test_what_is_not_an_endpoint_is_refused_in_words(engine, problem) -> None:
    with pytest.raises(ValueError) as refused:
        parse_endpoints(engine)
    assert problem in str(refused.value)
    assert "pw" not in str(refused.value)
