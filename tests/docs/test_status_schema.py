"""The schema of `/status.json` is that of the classes, and fits what the page is made of."""

import json

import jsonschema
import msgspec
import pytest

from tests.tools.status_schema import FILE, schema, text
from tests.writers.page_status import detail, source, status, writer


def test_the_schema_in_the_manual_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make docs`"


@pytest.mark.parametrize("shown", [status(source(), writers=[writer()]), status(), detail()])
def test_what_is_answered_fits_the_schema(shown: object) -> None:
    answer = json.loads(msgspec.json.encode(shown))
    jsonschema.validate(answer, schema())
    del answer["daemon"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, schema())


def test_keys_that_come_later_break_no_program() -> None:
    answer = json.loads(msgspec.json.encode(status(source())))
    answer["sources"][0]["mood"] = "fine"
    jsonschema.validate(answer, schema())
