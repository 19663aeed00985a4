import pytest
import yaml

from pollect.config.sections import convert_section
from pollect.discovery.registry import Registry
from tests.tools.source_tables import TABLES, renew


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
