"""AWS Signature Version 4 for requests without a body. Pure.

Facts: "Create a signed AWS API request" of the IAM user guide. Own code, because it is this small:
a client of boto3 costs a daemon 30 MB and a quarter of a second, the signer of botocore alone 8 MB.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from pollect.api import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
_SAFE = "-_.~"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Credentials:
    """An access key; `session_token` for one that was lent."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None


def encode_query(query: Mapping[str, str]) -> str:
    """Return a query as it is signed: sorted, and with everything but letters as `%XX`."""
    pairs = sorted(
        (quote(name, safe=_SAFE), quote(value, safe=_SAFE)) for name, value in query.items()
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def encode_path(path: str) -> str:
    """Return a path as it is signed."""
    return quote(path, safe=f"{_SAFE}/")


def sign_get(url: str, credentials: Credentials, *, region: str, now: float) -> dict[str, str]:
    """Return the headers that sign a GET of `url`, whose path and query are encoded.

    `now` is Unix time in seconds.
    """
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": _host(parts.scheme, parts.hostname or "", parts.port),
        "x-amz-content-sha256": EMPTY_DIGEST,
        "x-amz-date": stamp,
    }
    if credentials.session_token is not None:
        headers["x-amz-security-token"] = credentials.session_token.reveal()
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(("GET", parts.path or "/", parts.query, lines, names, EMPTY_DIGEST))
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key.reveal()}".encode()
    for part in (stamp[:8], region, SERVICE, "aws4_request"):
        key = _digest(key, part)
    signature = _digest(key, text).hex()
    del headers["host"]  # the client sends the same
    headers["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _host(scheme: str, host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{name}:{port}"


def _digest(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
