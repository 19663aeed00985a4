"""`PrometheusSsl`, `tls` and `auth`: certificates, clients that must show theirs, passwords."""

import base64
import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from pollect.api import Batch, ConfigError, Metric, SourceId, WriteError
from pollect.support.http_server import Limits
from pollect_writers.commands import hash_password
from pollect_writers.prometheus.auth import PasswordHash
from pollect_writers.prometheus.writer import PrometheusSslWriter, PrometheusWriter
from tests.simulators.certificates import Authority
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.writers.prometheus_scraper import Answer, build_prometheus, request, serving

BATCH = Batch(SourceId("pollect", "LoadAvg"), [Metric("x").sample(1)], 0.0)
LINE = "pollect_LoadAvg_x 1.0\n"


class Files:
    """A certificate for 127.0.0.1 in two files, and its authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self) -> None:
        leaf = self.authority.issue("127.0.0.1")
        leaf.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    @property
    def section(self) -> dict[str, str]:
        return {"cert": str(self.cert), "key": str(self.key)}

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.ca_file))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def endpoint(files: Files) -> Iterator[PrometheusWriter]:
    with serving(build_prometheus(PrometheusSslWriter, **files.section)) as writer:
        writer.write([BATCH])
        yield writer


def request_tls(
    writer: PrometheusWriter, context: ssl.SSLContext, headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPSConnection("127.0.0.1", writer.port, timeout=30, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers=dict(headers or {}))
        return Answer(connection.getresponse())


def serial_of(writer: PrometheusWriter, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", writer.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        certificate = connection.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_metrics_over_tls_with_the_options_of_1x(endpoint, files: Files) -> None:
    assert request_tls(endpoint, files.client()).text.endswith(LINE)


def test_prometheus_takes_a_tls_block_too(files: Files) -> None:
    with serving(build_prometheus(tls=files.section)) as writer:
        writer.write([BATCH])
        assert request_tls(writer, files.client()).text.endswith(LINE)


def test_relative_files_are_beside_the_config(files: Files, monkeypatch) -> None:
    monkeypatch.chdir(files.cert.parent)
    with serving(build_prometheus(PrometheusSslWriter, cert="cert.pem", key="key.pem")) as writer:
        assert request_tls(writer, files.client()).status == 200


def test_old_protocols_are_refused(endpoint, files: Files) -> None:
    client = files.client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        request_tls(endpoint, client)


def test_a_renewed_certificate_is_used_without_a_restart(endpoint, files: Files) -> None:
    before = serial_of(endpoint, files.client())
    files.renew()
    os.utime(files.cert, (1, 1))  # even when it looks older than the last one
    assert serial_of(endpoint, files.client()) != before


def test_a_broken_renewal_leaves_the_old_certificate_in_use(
    endpoint, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    before = serial_of(endpoint, files.client())
    whole = files.key.read_bytes()
    files.key.write_bytes(whole[:100])
    for _ in range(3):
        assert serial_of(endpoint, files.client()) == before
    files.key.unlink()
    for _ in range(3):
        assert serial_of(endpoint, files.client()) == before
    assert [record.getMessage() for record in caplog.records] == [
        f"the old certificate stays in use: cannot use the key {files.key}: it is not a private "
        "key in PEM format, or `keyPassword` does not open it",
        f"the old certificate stays in use: cannot read {files.key}: No such file or directory",
    ]
    files.renew()
    assert serial_of(endpoint, files.client()) != before


def test_only_clients_of_the_authority_enter(files: Files, tmp_path: Path) -> None:
    section = {**files.section, "clientCa": str(files.authority.ca_file)}
    with serving(build_prometheus(tls=section)) as writer:
        with pytest.raises(OSError):
            request_tls(writer, files.client())
        known = files.client()
        files.authority.issue("client.example").configure_cert(known)
        assert request_tls(writer, known).status == 200
        stranger = files.client()
        (tmp_path / "other").mkdir()
        Authority(tmp_path / "other").issue("client.example").configure_cert(stranger)
        with pytest.raises(OSError):
            request_tls(writer, stranger)


def test_other_authorities_of_clients_are_taken_up_without_a_restart(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(files.authority.ca_file.read_bytes())
    before, after = files.client(), files.client()
    files.authority.issue("client.example").configure_cert(before)
    other.issue("client.example").configure_cert(after)
    with serving(build_prometheus(tls={**files.section, "clientCa": str(trusted)})) as writer:
        assert request_tls(writer, before).status == 200
        trusted.write_bytes(other.ca_file.read_bytes())
        os.utime(trusted, (1, 1))
        assert request_tls(writer, after).status == 200
        with pytest.raises(OSError):
            request_tls(writer, before)


def test_silent_and_plain_clients_hold_nobody_up(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Limits(request_seconds=100.0)
    monkeypatch.setattr("pollect.support.http_server.Limits", lambda: patient)
    with contextlib.ExitStack() as others:
        endpoint = others.enter_context(
            serving(build_prometheus(PrometheusSslWriter, **files.section))
        )
        for number in range(80):
            client = socket.create_connection(("127.0.0.1", endpoint.port), timeout=30)
            others.enter_context(client)
            if number % 2:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        started = time.monotonic()
        assert request_tls(endpoint, files.client()).status == 200
        assert time.monotonic() - started < IN_TIME_SECONDS, "silent clients get 100 s"


def test_close_ends_handshakes_and_leaves_no_thread(files: Files) -> None:
    before = set(threading.enumerate())
    writer = build_prometheus(PrometheusSslWriter, **files.section)
    writer.open()
    with socket.create_connection(("127.0.0.1", writer.port), timeout=30):
        assert request_tls(writer, files.client()).status == 200
        writer.close()
    assert set(threading.enumerate()) == before


NO_KEY = (
    "cannot use the key {}: it is not a private key in PEM format, "
    "or `keyPassword` does not open it"
)


@pytest.mark.parametrize(
    ("option", "content", "problem"),
    [
        ("cert", None, "cannot read {}: No such file or directory"),
        ("cert", "nonsense", "{} contains no PEM certificate"),
        ("cert", "", "{} contains no PEM certificate"),
        ("key", None, "cannot read {}: No such file or directory"),
        ("key", "nonsense", NO_KEY),
        ("clientCa", None, "cannot read {}: No such file or directory"),
        ("clientCa", "nonsense", "{} contains no PEM certificate"),
    ],
)
def test_a_file_that_is_no_good_is_named(
    files: Files, option: str, content: str | None, problem: str
) -> None:
    file = files.cert.with_name("broken.pem")
    if content is not None:
        file.write_text(content)
    assert_refused({**files.section, option: str(file)}, option, problem.format(file))


def assert_refused(tls: dict[str, str], option: str, problem: str) -> None:
    """The check names the option in a `tls` block and beside the type; so does the start."""
    with pytest.raises(ConfigError) as caught:
        build_prometheus(tls=tls).check_files()
    assert (caught.value.key, caught.value.problem) == (f"tls.{option}", problem)
    if tls.keys() == {"cert", "key"}:
        with pytest.raises(ConfigError) as caught:
            build_prometheus(PrometheusSslWriter, **tls).check_files()
        assert (caught.value.key, caught.value.problem) == (option, problem)
    with pytest.raises(WriteError) as failed:
        build_prometheus(tls=tls).open()
    assert str(failed.value) == problem


def test_a_key_of_another_certificate_is_told(files: Files) -> None:
    other = files.key.with_name("other.pem")
    files.authority.issue("127.0.0.1").private_key_pem.write_to_path(other)
    assert_refused(
        {**files.section, "key": str(other)},
        "key",
        f"the key {other} does not belong to the certificate {files.cert}",
    )


def test_a_folder_in_place_of_a_key_is_told(files: Files) -> None:
    folder = files.key.parent
    assert_refused(
        {**files.section, "key": str(folder)}, "key", f"cannot read {folder}: Is a directory"
    )


def test_a_key_with_a_password_wants_the_right_one(files: Files) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"of the key"),
        )
    )
    with serving(build_prometheus(tls={**files.section, "keyPassword": "of the key"})) as writer:
        assert request_tls(writer, files.client()).status == 200
    for wrong in ("", "of another"):
        tls = {**files.section, "keyPassword": wrong}
        assert_refused(tls, "key", NO_KEY.format(files.key))


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "cert"),
        ({"cert": "c"}, "key"),
        ({"cert": "c", "key": "k", "tls": {"cert": "c", "key": "k"}}, "tls"),
    ],
)
def test_a_missing_certificate_is_a_config_error(section: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_prometheus(PrometheusSslWriter, **section)
    assert caught.value.key == key


PASSWORD = "pässword: of the test"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return str(PasswordHash.of(PASSWORD))


def basic(name: str, password: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_passwords_and_tokens_are_asked_for(password_hash: str) -> None:
    auth = {"users": {"ann": password_hash}, "token": "of-the-test"}
    with serving(build_prometheus(auth=auth)) as writer:
        writer.write([BATCH])
        for wrong in (
            {},
            basic("ann", "wrong"),
            basic("bob", PASSWORD),
            basic("bob", ""),
            basic("", ""),
            basic("ann", ""),
            {"Authorization": "Basic ?"},
            {"Authorization": "Basic YQ=="},
            bearer("wrong"),
            bearer(""),
            {"Authorization": "Digest x"},
        ):
            refused = request(writer, headers=wrong)
            assert refused.status == 401
            assert "pollect_" not in refused.text
            assert refused.headers["www-authenticate"] == (
                'Basic realm="pollect", charset="UTF-8", Bearer realm="pollect"'
            )
        for _ in range(2):
            assert request(writer, headers=basic("ann", PASSWORD)).text.endswith(LINE)
        assert request(writer, headers=bearer("of-the-test")).text.endswith(LINE)
        assert request(writer, headers=basic("ann", "wrong")).status == 401


def test_health_checks_need_no_password(password_hash: str) -> None:
    with serving(build_prometheus(auth={"users": {"ann": password_hash}})) as writer:
        assert request(writer, "/-/healthy").status == 200
        assert request(writer, "/-/ready").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/favicon.ico", "/-/", "/-/metrics", "/-/healthy/", "/-/ready/..", ""]
)
def test_every_other_path_needs_one(path: str, password_hash: str) -> None:
    with serving(build_prometheus(auth={"users": {"ann": password_hash}})) as writer:
        writer.write([BATCH])
        for accept in ("*/*", "text/html"):
            refused = request(writer, path, headers={"Accept": accept})
            assert refused.status == 401
            assert "pollect_" not in refused.text


def test_passwords_that_travel_readable_are_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = {"token": "of-the-test"}
    with serving(build_prometheus(auth=auth, bind="0.0.0.0")) as writer:
        port = writer.port
        for _ in range(2):
            assert request(writer, headers=bearer("of-the-test")).status == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"Prometheus: passwords and tokens of `auth` are sent unencrypted to port {port}; "
        "add `tls`, or set `bind: 127.0.0.1` and put a proxy with TLS before it"
    ]


@pytest.mark.parametrize(
    "section",
    [
        {"auth": {"token": "of-the-test"}},
        {"auth": {"token": "of-the-test"}, "bind": "localhost"},
        {"auth": {"token": "of-the-test"}, "bind": "::1"},
        {"bind": "0.0.0.0"},
    ],
)
def test_nothing_is_warned_of_where_nobody_can_listen_in(
    section: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(build_prometheus(**section)):
        assert "can be read" not in caplog.text


def test_auth_with_tls_is_not_warned_of(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    auth = {"token": "of-the-test"}
    with serving(build_prometheus(auth=auth, tls=files.section, bind="0.0.0.0")):
        assert "can be read" not in caplog.text


def test_a_right_password_is_hashed_once(password_hash: str, monkeypatch) -> None:
    hashed: list[bytes] = []
    apply = PasswordHash.apply

    def counting(self: PasswordHash, password: bytes) -> bytes:
        hashed.append(password)
        return apply(self, password)

    with serving(build_prometheus(auth={"users": {"ann": password_hash}})) as writer:
        monkeypatch.setattr(PasswordHash, "apply", counting)
        for _ in range(5):
            assert request(writer, headers=basic("ann", PASSWORD)).status == 200
    assert len(hashed) == 1


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ({}, "auth"),
        ({"users": {"ann": "secret in the clear"}}, "auth.users.ann"),
        ({"users": {"ann": "$scrypt$ln=30,r=8,p=1$c2FsdA$aGFzaA"}}, "auth.users.ann"),
        ({"users": {"ann": "$scrypt$ln=14,r=8,p=1$c$aGFzaA"}}, "auth.users.ann"),
    ],
)
def test_what_is_no_hash_is_refused_and_not_shown(auth: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_prometheus(auth=auth)
    assert caught.value.key == key
    assert "in the clear" not in str(caught.value)


def test_secrets_do_not_show_in_the_config(password_hash: str) -> None:
    writer = build_prometheus(auth={"users": {"ann": password_hash}, "token": "of-the-test"})
    assert password_hash not in repr(writer.config)
    assert "of-the-test" not in repr(writer.config)


@pytest.mark.parametrize("text", [f"{PASSWORD}\n", f"{PASSWORD}\r\n", PASSWORD])
def test_hash_of_a_password_from_a_pipe_is_made_without_a_question(text: str) -> None:
    done = CliRunner().invoke(hash_password, input=text)
    assert done.exit_code == 0
    made = PasswordHash.parse(done.output.strip())
    assert made.apply(PASSWORD.encode()) == made.hash


def test_empty_password_has_no_hash() -> None:
    done = CliRunner().invoke(hash_password, input="\n")
    assert done.exit_code == 2
    assert "expected a password, got an empty line" in done.output


def test_the_command_makes_a_hash_that_opens() -> None:
    done = CliRunner().invoke(hash_password, ["--password", PASSWORD])
    made = PasswordHash.parse(done.output.strip())
    assert made.apply(PASSWORD.encode()) == made.hash
    assert PASSWORD not in done.output


def test_the_salt_of_rfc_7914_gives_its_hash() -> None:
    """Section 12, second example: N = 1024, r = 8, p = 16."""
    empty = PasswordHash(10, 8, 16, b"NaCl", b"\0" * 64)
    assert empty.apply(b"password").hex().startswith("fdbabe1c9d3472007856e7190d01e9fe")
