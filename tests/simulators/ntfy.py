"""An ntfy server: topics that take messages, with users, and a cache of what came.

Written from https://docs.ntfy.sh/publish/: "Publish as JSON" (POST to the root, member `topic`) and
plain publishing (POST or PUT to the topic, headers `Title` and `Priority`); wrong credentials are
401, an unknown topic name 404, too many messages 429.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pollect.testing import serve_http
from pollect.testing.http import HttpRequest, HttpResponse

_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")


@dataclass
class Ntfy:
    """What a test sees and decides."""

    address: str = ""
    user: str = "me"
    password: str = "hush-password"
    #: While true every message is refused as one too many.
    busy: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address as apprise takes it."""
        return f"ntfy://{self.user}:{self.password}@{self.address}/alerts"

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Take one message."""
        if self.busy:
            return _refusal(429, 42901, "limit reached: too many requests")
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return _refusal(401, 40101, "unauthorized")
        if request.path == "/":
            message = request.json()
        else:
            message = {
                "topic": request.path.strip("/"),
                "title": request.headers.get("Title", ""),
                "message": request.body.decode(),
            }
        if not _TOPIC.fullmatch(str(message.get("topic", ""))):
            return _refusal(404, 40401, "page not found")
        message |= {"id": f"m{len(self.messages)}", "time": int(time.time()), "event": "message"}
        self.messages.append(message)
        return HttpResponse(message)


@contextmanager
def running() -> Iterator[Ntfy]:
    """Serve ntfy on a free port."""
    ntfy = Ntfy()
    with serve_http(ntfy.answer) as server:
        ntfy.address = server.address
        yield ntfy


def _refusal(status: int, code: int, text: str) -> HttpResponse:
    body = json.dumps({"code": code, "http": status, "error": text}).encode()
    return HttpResponse(body, status, {"Content-Type": "application/json"})
