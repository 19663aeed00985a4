"""What `pollect init` writes into the config of a new host: the servers of a home that run on it.

Only this host is asked, and only with requests that anybody may make. Nothing is said about a
server that does not show who it is: other programs use the same ports.
"""

import http.client
import json
from collections.abc import Iterator

from pollect.api import Suggestion

HOST = "127.0.0.1"
EVCC_PORT = 7070
OPENHAB_PORT = 8080
PLEX_PORT = 32400
#: Long enough for a program on this host.
TIMEOUT_SECONDS = 0.5
MAX_BODY_BYTES = 4 * 1024 * 1024

OK = 200


def suggest_servers() -> Iterator[Suggestion]:
    """Yield the sources for what answers on this host."""
    if _is_evcc():
        yield Suggestion(
            "source",
            {"type": "Evcc", "host": f"{HOST}:{EVCC_PORT}"},
            "Power, energy and charging sessions of the evcc on this host; `details: true` adds "
            "single devices and phases.",
        )
    if _is_openhab():
        yield Suggestion(
            "source",
            {"type": "Openhab", "url": f"http://{HOST}:{OPENHAB_PORT}"},
            "Numbers and switches of the openHAB on this host; `types` adds other items.",
            caveat=_refusal(OPENHAB_PORT, "/rest/items?fields=name"),
        )
    if _is_plex():
        yield Suggestion(
            "source",
            {"type": "Plex", "url": f"http://{HOST}:{PLEX_PORT}"},
            "Streams and libraries of the Plex Media Server on this host.",
            caveat=_refusal(PLEX_PORT, "/library/sections"),
        )


def _is_evcc() -> bool:
    status, body = _get(EVCC_PORT, "/api/state")
    state = _json_object(body) if status == OK else {}
    inner = state.get("result")
    return "loadpoints" in (inner if isinstance(inner, dict) else state)


def _is_openhab() -> bool:
    # The root of its REST interface is shown to everybody.
    status, body = _get(OPENHAB_PORT, "/rest/")
    return status == OK and "runtimeInfo" in _json_object(body)


def _is_plex() -> bool:
    status, body = _get(PLEX_PORT, "/identity")
    return status == OK and b"<MediaContainer" in body and b"machineIdentifier" in body


def _refusal(port: int, path: str) -> str:
    """Return what to do before the source works, empty if it works as it is."""
    status, _ = _get(port, path)
    return "the server wants a `token`" if status in (401, 403) else ""


def _get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of an answer, status 0 if there is none."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _json_object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
