"""The certificate reader against certificates of the library `cryptography`."""

import contextlib
import datetime
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pollect.api import BadResponse
from pollect_sources_network.x509 import earliest_expiry, parse_certificate, split_pem

KEYS: dict[str, Any] = {
    "EC P-256": ec.generate_private_key(ec.SECP256R1()),
    "EC P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA 2048": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def build(
    key="EC P-256", common_name="example.org", names=(), serial=4711, begin=2020, end=2040
) -> x509.Certificate:
    private = KEYS[key]
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bäcker & Söhne"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(serial)
        .not_valid_before(datetime.datetime(begin, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(end, 12, 30, 23, 59, 58, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(private, None if key == "Ed25519" else hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("key", KEYS)
def test_facts_are_those_of_the_certificate(key: str) -> None:
    names = [
        x509.DNSName("example.org"),
        x509.DNSName("*.example.org"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = build(key, names=names)
    found = parse_certificate(der(certificate))
    assert found.subject == found.issuer == "C=DE, O=Bäcker & Söhne, CN=example.org"
    assert found.serial == "1267"
    assert found.not_before == certificate.not_valid_before_utc.timestamp()
    assert found.not_after == certificate.not_valid_after_utc.timestamp()
    assert found.alt_names == ("example.org", "*.example.org", "::1", "127.0.0.1")
    assert found.key == key
    assert found.fingerprint_sha256 == certificate.fingerprint(hashes.SHA256()).hex()


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=16),
    st.integers(1, 2**159 - 1),
    st.integers(1951, 2020),
    st.integers(2021, 9999),
)
def test_names_numbers_and_years_survive(name: str, serial: int, begin: int, end: int) -> None:
    certificate = build(common_name=name, serial=serial, begin=begin, end=end)
    found = parse_certificate(der(certificate))
    assert found.subject.endswith(f"CN={name}")
    assert int(found.serial, 16) == serial
    assert found.not_before == certificate.not_valid_before_utc.timestamp()
    assert found.not_after == certificate.not_valid_after_utc.timestamp()
    assert found.alt_names == ()


GOOD = der(build(names=[x509.DNSName("example.org")]))


@given(st.binary(max_size=200))
def test_rubbish_is_a_bad_response(data: bytes) -> None:
    with pytest.raises(BadResponse, match="not a certificate"):
        parse_certificate(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_damaged_certificates_never_crash_the_reader(position: int, byte: int) -> None:
    with contextlib.suppress(BadResponse):
        parse_certificate(GOOD[:position] + bytes([byte]) + GOOD[position + 1 :])


def test_certificates_of_a_pem_file_come_in_order() -> None:
    chain = [build(serial=1), build(serial=2)]
    pem = b"leaf first\n" + b"".join(
        each.public_bytes(serialization.Encoding.PEM) for each in chain
    )
    assert [parse_certificate(each).serial for each in split_pem(pem)] == ["1", "2"]
    assert split_pem(GOOD) == [GOOD]
    with pytest.raises(BadResponse, match="expected a certificate"):
        split_pem(b"nothing here")


def test_earliest_of_a_chain_passes_over_what_it_cannot_read() -> None:
    short, long = build(end=2030), build(end=2040)
    expected = short.not_valid_after_utc.timestamp()
    assert earliest_expiry([der(long), b"rubbish", der(short)]) == expected
    assert earliest_expiry([b"rubbish"]) is None
