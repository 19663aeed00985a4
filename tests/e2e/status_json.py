"""Asks a daemon for `/status.json` and holds every answer against the schema of the manual."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import jsonschema

from tests.tools.status_schema import schema


def get(url: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read(), parse_constant=refuse)


def strict(part: Any) -> Any:
    """Return a schema that takes no key which the manual does not have."""
    if isinstance(part, list):
        return [strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {"additionalProperties": False} if "properties" in part else {}
    return {**{key: strict(value) for key, value in part.items()}, **closed}


def check_everything(port: int) -> Mapping[str, Mapping[str, Any]]:
    """Check the answers for all sources and for each; return the sources by id."""
    validator = jsonschema.Draft202012Validator(strict(schema()))
    url = f"http://127.0.0.1:{port}/status.json"
    status = get(url)
    validator.validate(status)
    for source in status["sources"]:
        one = get(f"{url}?source={quote(source['id'], safe='')}")
        validator.validate(one)
        assert one["summary"]["id"] == source["id"]
    return {source["id"]: source for source in status["sources"]}
