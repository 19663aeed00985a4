import re
import tomllib

import pytest
import yaml

from pollect.config.sections import convert_section
from pollect.discovery.registry import Registry
from pollect_writers.plugin import pollect_writers
from tests.tools.source_tables import ROOT, TABLES, renew

WRITERS = ROOT / "pollect-writers"
_ROW = re.compile(r"^\| (`.*`) \| .* \| (.*)\|$", re.MULTILINE)


@pytest.mark.parametrize(("file", "module"), TABLES.items(), ids=lambda value: str(value)[-40:])
def test_table_of_sources_is_up_to_date(file, module) -> None:
    text = file.read_text("utf-8")
    assert text == renew(text, module), "make docs"


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.parent.name)
def test_examples_of_the_readme_are_right(file) -> None:
    registry = Registry()
    blocks = file.read_text("utf-8").split("```yaml\n")[1:]
    assert blocks
    for block in blocks:
        for section in yaml.safe_load(block.partition("```")[0]):
            source_type = registry.source_type(section["type"])
            config_type = source_type.config_type
            convert_section(config_type, section)
            unknown = section.keys() - set(config_type.__struct_encode_fields__)
            assert not unknown, f"{section['type']}: {unknown}"


def test_the_readme_of_the_writers_has_a_row_for_each_and_its_extra() -> None:
    rows = _ROW.findall((WRITERS / "README.md").read_text("utf-8"))
    types, extras = (
        {name for row in rows for name in re.findall("`(.+?)`", row[i])} for i in (0, 1)
    )
    assert types == {spec.type for spec in pollect_writers()}
    project = tomllib.loads((WRITERS / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras == project["optional-dependencies"].keys() - {"all"}
