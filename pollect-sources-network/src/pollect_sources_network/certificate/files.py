"""Certificates in files: PEM, DER, and PKCS#12 (RFC 7292), which needs the library cryptography."""

import re

from pollect.api import AuthenticationFailed, BadResponse, MissingDependency
from pollect_sources_network.x509 import split_pem

REQUIREMENT = "pollect-sources-network[certificate]"

#: A sequence of any length (0x80: until its end mark) that begins with the version, 3.
_PKCS12 = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03", re.DOTALL)


def is_pkcs12(data: bytes) -> bool:
    """Tell whether a file is PKCS#12; a certificate in DER begins with a sequence of its own."""
    return _PKCS12.match(data) is not None


def read_chain(data: bytes, password: str) -> tuple[bytes, ...]:
    """Return the certificates of a file in DER: the one with the key first, then as they come.

    `password` counts for PKCS#12, whose whole content it encrypts. Raises `AuthenticationFailed`
    when it is wrong, `BadResponse` when there is no certificate, and `MissingDependency`.
    """
    return _read_pkcs12(data, password) if is_pkcs12(data) else tuple(split_pem(data))


def require_pkcs12() -> None:
    """Raise `MissingDependency` when PKCS#12 cannot be read."""
    try:
        import cryptography.hazmat.primitives.serialization.pkcs12  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"Certificate needs the library cryptography for PKCS#12: pip install '{REQUIREMENT}'",
            requirement=REQUIREMENT,
        ) from error


def _read_pkcs12(data: bytes, password: str) -> tuple[bytes, ...]:
    require_pkcs12()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

    try:
        store = pkcs12.load_pkcs12(data, password.encode() if password else None)
    except UnsupportedAlgorithm as error:
        raise BadResponse(f"encrypted in a way that is not known here: {error}") from error
    except ValueError as error:
        # The library does not tell the one from the other.
        wrong = "`filePassword` is wrong" if password else "`filePassword` is missing"
        raise AuthenticationFailed(f"{wrong}, or the file is damaged") from error
    own = [store.cert] if store.cert is not None else []
    chain = [each.certificate for each in (*own, *store.additional_certs)]
    if not chain:
        raise BadResponse("there is no certificate in it")
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
