"""Tokens are signed in a process of its own, and judged by the library here."""

import subprocess
import sys
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pollect.api import MissingDependency, ProbeError
from pollect_sources_cloud import signing
from pollect_sources_cloud.signing import Signer

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KEYS: dict[str, Callable[[], Key]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
}


def pem_of(key: Key) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        serialization.Encoding.PEM, kind, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize("algorithm", KEYS)
def test_token_carries_claims_and_the_name_of_the_key(algorithm: str) -> None:
    key = KEYS[algorithm]()
    token = Signer(algorithm, "gdc").sign({"iss": "me"}, pem_of(key), "k9", where="x")
    assert jwt.decode(token, key.public_key(), algorithms=[algorithm]) == {"iss": "me"}
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": "k9"}


@pytest.mark.parametrize("algorithm", KEYS)
def test_key_of_the_other_kind_is_refused_by_its_file(algorithm: str) -> None:
    (other,) = KEYS.keys() - {algorithm}
    pem = pem_of(KEYS[other]())
    with pytest.raises(ProbeError, match=r"^key\.pem: expected .* in PEM") as caught:
        Signer(algorithm, "gdc").sign({}, pem, "", where="key.pem")
    assert pem.splitlines()[1] not in str(caught.value)


def test_the_daemon_itself_never_imports_the_library() -> None:
    code = (
        "import sys; from pollect_sources_cloud.signing import Signer;"
        "from pollect.api import ProbeError\n"
        "try: Signer('RS256', 'gdc').sign({}, 'x', '', where='y')\n"
        "except ProbeError: print('jwt' in sys.modules or 'cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_not_installed_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "LIBRARIES", ("jwt", "a_library_that_does_not_exist"))
    with pytest.raises(MissingDependency) as caught:
        Signer("ES256", "appstoreconnect")
    assert caught.value.requirement == "pollect-sources-cloud[appstoreconnect]"


def test_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(signing, "LIMIT_SECONDS", 0.2)
    with pytest.raises(ProbeError, match="no signature within"):
        Signer("RS256", "gdc").sign({}, "", "", where="x")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(ProbeError, match="cannot start"):
        Signer("RS256", "gdc").sign({}, "", "", where="x")
