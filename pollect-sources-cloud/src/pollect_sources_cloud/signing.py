"""Signed tokens (RFC 7519) by PyJWT, the library behind the extras `gdc` and `appstoreconnect`.

PyJWT with cryptography takes 13 MB for good once it is imported, and is needed for a moment once
an hour or less. So it signs in a process of its own, which takes 0.2 s. The key goes there through
a pipe: neither its text nor the claims are ever in the list of processes.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pollect.api import MissingDependency, ProbeError
from pollect_sources_cloud.sign import BAD_KEY

LIBRARIES = ("jwt", "cryptography")
#: A process that takes longer hangs, or the machine is out of memory.
LIMIT_SECONDS = 30.0


class Signer:
    """Signs claims by one algorithm: RS256 takes an RSA key, ES256 one of the curve P-256."""

    def __init__(self, algorithm: str, extra: str) -> None:
        """Look whether the library is there; raises `MissingDependency`."""
        if any(find_spec(name) is None for name in LIBRARIES):
            requirement = f"pollect-sources-cloud[{extra}]"
            raise MissingDependency(
                f"signing needs the library PyJWT with cryptography: pip install '{requirement}'",
                requirement=requirement,
            )
        self._algorithm = algorithm

    def sign(self, claims: Mapping[str, Any], pem: str, key_id: str, *, where: object) -> str:
        """Return the token; raises `ProbeError` that names `where` the key came from."""
        request = {
            "claims": dict(claims),
            "key": pem,
            "algorithm": self._algorithm,
            "key_id": key_id,
        }
        try:
            # -P: what lies in the working directory is not to be imported.
            done = subprocess.run(
                [sys.executable, "-P", "-m", "pollect_sources_cloud.sign"],
                input=json.dumps(request).encode(),
                capture_output=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ProbeError(f"no signature within {LIMIT_SECONDS:g} s") from error
        except OSError as error:
            raise ProbeError(f"cannot start {sys.executable}: {error.strerror}") from error
        if done.returncode == BAD_KEY:
            kind = "an RSA key" if self._algorithm == "RS256" else "a key of the curve P-256"
            raise ProbeError(f"{where}: expected {kind} in PEM, got something else")
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ProbeError(f"signing failed with status {done.returncode}: {last[:200]}")
        return done.stdout.decode("ascii", errors="replace")
