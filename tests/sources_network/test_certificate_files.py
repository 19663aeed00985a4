"""Certificates in files: PEM, DER, and PKCS#12 as the library, OpenSSL and others make it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from pollect.api import BadResponse, MissingDependency, ProbeError, Source
from pollect.testing import FakeClock, build_source
from pollect_sources_network.certificate.files import is_pkcs12, read_chain
from pollect_sources_network.certificate.source import CertificateSource
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program
from tests.sources_network.samples import probe

DAYS = 40
GOOD = {"success": 1, "cert_expire_days": DAYS}
PASSWORD = "pässword of the store"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority below another, so that its chains have two certificates."""
    return Authority(tmp_path_factory.mktemp("ca")).child(tmp_path_factory.mktemp("child"))


@pytest.fixture(scope="module")
def pem(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key, certificate and chain in one file."""
    file = tmp_path_factory.mktemp("pem") / "server.pem"
    return authority.write_pem(file, "h.example", days=DAYS + 0.5)


def build(file: Path, **section: object) -> Source:
    clock = FakeClock(time=time.time())
    return build_source({"file": str(file), **section}, CertificateSource, clock=clock)


def read_key(pem: Path) -> Any:
    return load_pem_private_key(pem.read_bytes(), None)


def store(pem: Path, encryption: KeySerializationEncryption) -> bytes:
    """Return key and chain of a PEM file as PKCS#12."""
    leaf, *others = x509.load_pem_x509_certificates(pem.read_bytes())
    key = read_key(pem)
    return pkcs12.serialize_key_and_certificates(b"web", key, leaf, others, encryption)


def legacy(password: bytes) -> KeySerializationEncryption:
    """Return the encryption of Windows and Java before 2020."""
    builder = PrivateFormat.PKCS12.encryption_builder()
    builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    return builder.hmac_hash(hashes.SHA1()).build(password)


def test_pem_and_der_are_read(pem: Path, tmp_path: Path) -> None:
    found = probe(build(pem, details=True))
    assert found["cert_expire_days"] == found["chain_expire_days"] == DAYS
    der = tmp_path / "server.der"
    der.write_bytes(read_chain(pem.read_bytes(), "")[0])
    assert probe(build(der)) == GOOD
    # A password that nothing asks for does no harm.
    assert probe(build(der, filePassword="x")) == GOOD


@pytest.mark.parametrize("encrypt", [BestAvailableEncryption, legacy], ids=["today's", "old"])
def test_store_is_read_with_its_chain(pem: Path, tmp_path: Path, encrypt) -> None:
    file = tmp_path / "server.p12"
    file.write_bytes(store(pem, encrypt(PASSWORD.encode())))
    assert probe(build(file, filePassword=PASSWORD)) == GOOD
    chain = read_chain(file.read_bytes(), PASSWORD)
    assert chain == read_chain(pem.read_bytes(), "")
    assert len(chain) == 2
    found = probe(build(file, filePassword=PASSWORD, details=True))
    assert found["chain_expire_days"] == DAYS
    assert "handshake_ms" not in found
    assert "cert_valid" not in found


def test_chain_of_a_store_counts_with_its_earliest_end(
    authority: Authority, tmp_path: Path
) -> None:
    pem = authority.write_pem(tmp_path / "server.pem", "h.example", days=400_000.5)
    file = tmp_path / "server.p12"
    file.write_bytes(store(pem, NoEncryption()))
    found = probe(build(file, details=True))
    assert found["cert_expire_days"] == 400_000
    assert found["chain_expire_days"] < 360_000


def test_store_without_a_password_is_read(pem: Path, tmp_path: Path) -> None:
    file = tmp_path / "server.pfx"
    file.write_bytes(store(pem, NoEncryption()))
    assert probe(build(file)) == GOOD


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "password"),
    [
        ([], "secret"),
        ([], ""),
        (["-nokeys"], "secret"),
        (["-legacy"], "secret"),
        (["-keypbe", "NONE", "-certpbe", "NONE", "-nomaciter"], "secret"),
    ],
    ids=["usual", "empty password", "certificates alone", "RC2", "not encrypted"],
)
def test_store_of_openssl_is_read(
    pem: Path, tmp_path: Path, options: list[str], password: str
) -> None:
    program = find_program("openssl", "openssl")
    file = tmp_path / "server.p12"
    command = [program, "pkcs12", "-export", "-in", str(pem), "-out", str(file)]
    subprocess.run([*command, "-passout", f"pass:{password}", *options], check=True, timeout=150)
    assert probe(build(file, filePassword=password)) == GOOD


@pytest.mark.parametrize(
    ("password", "problem"),
    [("wrong", "`filePassword` is wrong"), (None, "`filePassword` is missing")],
)
def test_wrong_password_is_named_and_not_shown(
    pem: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    password: str | None,
    problem: str,
) -> None:
    caplog.set_level("DEBUG", logger="pollect")
    file = tmp_path / "server.p12"
    file.write_bytes(store(pem, BestAvailableEncryption(b"right")))
    source = build(file, **({"filePassword": "hunter2"} if password else {}))
    assert probe(source) == {"success": 0}
    assert f"{file}: {problem}, or the file is damaged" in caplog.text
    for text in (caplog.text, repr(source.config), repr(vars(source))):
        assert "hunter2" not in text


def test_absent_file_is_told_once_until_it_is_there(
    pem: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "server.pem"
    source = build(file)
    assert [probe(source) for _ in range(2)] == [{"success": 0}] * 2
    file.write_bytes(pem.read_bytes())
    assert [probe(source) for _ in range(2)] == [GOOD] * 2
    absent, back = caplog.messages
    assert absent.startswith(f"{file}: ")
    assert "No such file" in absent
    assert back == f"{file}: works again"


def test_store_without_a_certificate_is_named(pem: Path) -> None:
    key = read_key(pem)
    data = pkcs12.serialize_key_and_certificates(b"web", key, None, None, NoEncryption())
    with pytest.raises(BadResponse, match="no certificate in it"):
        read_chain(data, "")


def test_only_a_store_needs_the_library(
    pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.p12"
    file.write_bytes(store(pem, NoEncryption()))
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization.pkcs12", None)
    assert probe(build(pem)) == GOOD
    with pytest.raises(
        MissingDependency, match=r"pollect-sources-network\[certificate\]"
    ) as caught:
        build(file).open()
    assert caught.value.requirement == "pollect-sources-network[certificate]"


def test_certificates_are_told_from_stores(pem: Path) -> None:
    certificate = read_chain(pem.read_bytes(), "")[0]
    assert not is_pkcs12(certificate)
    assert not is_pkcs12(pem.read_bytes())
    assert is_pkcs12(store(pem, NoEncryption()))
    assert is_pkcs12(b"\x30\x80\x02\x01\x03")


@given(st.sampled_from([b"\x30\x80", b"\x30\x20", b"\x30\x82\x01\x00"]), st.binary(max_size=100))
def test_damaged_stores_are_an_error_of_the_probe(head: bytes, rest: bytes) -> None:
    data = head + b"\x02\x01\x03" + rest
    assert is_pkcs12(data)
    with pytest.raises(ProbeError):
        read_chain(data, "password")
