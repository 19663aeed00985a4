"""The limits that the manual states are those that the code has."""

from pathlib import Path

import pytest

from pollect.config import (
    addresses,
    document,
    environment,
    inventory,
    labels,
    plausible,
    reading,
    yaml_reader,
)
from pollect.daemon import feeds

PAGE = (Path(__file__).parents[2] / "docs" / "configuring.md").read_text(encoding="utf-8")
MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        f"{reading.LARGEST_BYTES // MEGABYTE} MB, {document.DEEPEST} levels deep",
        f"{yaml_reader.MOST_VALUES:,} values",
        f"{environment.LARGEST_FILE_BYTES // MEGABYTE} MB, of a regular file",
        f"the name of a label | {labels.LONGEST_NAME:,} characters",
        f"the value of a label | {labels.LONGEST_VALUE:,} characters",
        f"{inventory.LARGEST_BYTES // MEGABYTE} MB, {inventory.MOST_TARGETS:,} targets of "
        f"{addresses.LONGEST_TARGET:,} characters, {inventory.MOST_LABELS} labels of "
        f"{inventory.LONGEST_LABEL:,} characters each; the first {feeds.MOST_FILES:,} files",
        f"More than {plausible.MOST_THREADS:,} `threads`",
    ],
)
def test_the_page_about_configs_states_the_limit(text: str) -> None:
    assert text in PAGE
