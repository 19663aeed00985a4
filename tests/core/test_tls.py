"""Whom a client trusts."""

import select
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.support.tls import build_ssl_context, presented_certificates, shake_hands
from tests.simulators.certificates import Authority


def test_contexts_that_trust_the_same_are_one(tmp_path: Path) -> None:
    file = Authority(tmp_path).ca_file
    context = build_ssl_context(ca_file=file)
    assert build_ssl_context(ca_file=file) is context
    assert build_ssl_context(ca_file=file, alpn=("dot",)) is not context
    assert len(context.get_ca_certs()) == 1


def test_renewed_bundle_is_read_again(tmp_path: Path) -> None:
    file = Authority(tmp_path).ca_file
    before = build_ssl_context(ca_file=file).get_ca_certs()
    file.write_bytes(Authority(tmp_path).ca_file.read_bytes())
    assert build_ssl_context(ca_file=file).get_ca_certs() != before


def test_context_with_a_client_certificate_is_not_shared(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.write_pem(tmp_path / "client.pem", "client")
    context = build_ssl_context(ca_file=authority.ca_file, client_cert=client)
    assert build_ssl_context(ca_file=authority.ca_file) is not context


def test_bundle_may_be_a_folder(tmp_path: Path) -> None:
    assert build_ssl_context(ca_file=tmp_path).verify_mode is ssl.CERT_REQUIRED


def test_absent_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        build_ssl_context(ca_file=tmp_path / "absent.pem")


def test_without_authorities_of_the_system_those_of_certifi_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = ssl.DefaultVerifyPaths(None, None, "", "", "", "")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    assert len(build_ssl_context().get_ca_certs()) > 50


@pytest.fixture
def reset() -> Iterator[socket.socket]:
    """A connection that the peer has reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        assert poll.poll(10_000), "the reset"
        with sock:
            yield sock


def test_connection_that_was_reset_before_the_handshake_is_an_error(reset: socket.socket) -> None:
    """Python returns a socket without TLS then, on which 3.13 knows no chain of certificates."""
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        shake_hands(build_ssl_context(verify=False), reset, "localhost")


def test_connection_that_was_reset_before_the_handshake_showed_no_certificate(
    reset: socket.socket,
) -> None:
    context = build_ssl_context(verify=False)
    with pytest.raises(ConnectionResetError):
        reset.recv(1)  # reported once; then it counts as never connected
    with context.wrap_socket(reset, do_handshake_on_connect=False) as wrapped:
        with pytest.raises(OSError, match="not connected"):
            wrapped.do_handshake()
        assert presented_certificates(wrapped) == ()
