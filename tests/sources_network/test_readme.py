"""The examples of the README are configs that `pollect check` accepts."""

import re
import textwrap
from pathlib import Path

import pytest

from tests.e2e.command import call

README = Path("pollect-sources-network/README.md")
EXAMPLES = re.findall(r"^```yaml\n(.+?)^```", README.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split()[2])
def test_example_is_a_valid_config(example: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    file = tmp_path / "config.yml"
    sources = re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", textwrap.indent(example, "      "))
    file.write_text(
        "tickTime: 10\nwriter: {type: DryRun}\nexecutors:\n  - collection: net\n    sources:\n"
        + sources
    )
    done = call("check", file)
    assert done.returncode == 0, done.stdout + done.stderr
