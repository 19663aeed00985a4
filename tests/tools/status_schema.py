"""Writes docs/status.schema.json, the JSON Schema of `/status.json`, from the classes behind it."""

import json
from pathlib import Path
from typing import Any

import msgspec

from pollect.status import SourceDetail, Status

FILE = Path(__file__).parents[2] / "docs" / "status.schema.json"


def schema() -> dict[str, Any]:
    """Return the schema: the whole answer, or that about one source."""
    (whole, one), components = msgspec.json.schema_components(
        [Status, SourceDetail], ref_template="#/$defs/{name}"
    )
    for part in components.values():
        # Programs written against it must not trip over keys that come later.
        part.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "/status.json of pollect",
        "description": "`/status.json`, or with `?source=ID` everything about one source. "
        "Times are Unix times in seconds, spans are seconds.",
        "oneOf": [whole, one],
        "$defs": components,
    }


def text() -> str:
    """Return the file as it should be."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
