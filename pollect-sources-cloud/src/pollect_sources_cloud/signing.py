"""Signed tokens (RFC 7519) by PyJWT, the library behind the extras `gdc` and `appstoreconnect`."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pollect.api import MissingDependency, ProbeError


class Signer:
    """Signs claims by one algorithm: RS256 takes an RSA key, ES256 one of the curve P-256."""

    def __init__(self, algorithm: str, extra: str) -> None:
        """Import the library; raises `MissingDependency`."""
        requirement = f"pollect-sources-cloud[{extra}]"
        try:
            self._jwt: ModuleType = importlib.import_module("jwt")
            importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
        except ImportError as error:
            raise MissingDependency(
                f"signing needs the library PyJWT with cryptography: pip install '{requirement}'",
                requirement=requirement,
            ) from error
        self._algorithm = algorithm

    def sign(self, claims: Mapping[str, Any], pem: str, key_id: str, *, where: object) -> str:
        """Return the token; raises `ProbeError` that names `where` the key came from."""
        headers = {"kid": key_id} if key_id else None
        try:
            return str(
                self._jwt.encode(dict(claims), pem, algorithm=self._algorithm, headers=headers)
            )
        except Exception as error:
            # The libraries raise ValueError, TypeError and errors of their own for a bad key.
            kind = "an RSA key" if self._algorithm == "RS256" else "a key of the curve P-256"
            raise ProbeError(f"{where}: expected {kind} in PEM, got something else") from error
