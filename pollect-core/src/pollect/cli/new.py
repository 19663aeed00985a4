"""`pollect plugins new`: begins a distribution of somebody's own."""

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pollect import __version__

TEMPLATE = Path(__file__).with_name("templates") / "plugin"
_SUFFIX = ".tmpl"
_PREFIX = "pollect-"


@dataclass(frozen=True, slots=True)
class Names:
    """Every form of a plugin's name."""

    #: Words in lower case: `rain`, `gauge`.
    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Names":
        """Read `rain-gauge`, `rain_gauge`, `RainGauge` or `pollect-rain-gauge`.

        Raises `ValueError` when it makes no name of a module.
        """
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
        plain = re.sub(r"[\s_.-]+", "-", spaced).strip("-").lower().removeprefix(_PREFIX)
        module = plain.replace("-", "_")
        usable = module.isascii() and module.isidentifier() and not keyword.iskeyword(module)
        if not usable or module == "pollect":
            raise ValueError(f"{text!r} makes no name of a module; try a word like 'rain-gauge'")
        return cls(tuple(plain.split("-")))

    @property
    def distribution(self) -> str:
        return _PREFIX + "-".join(self.words)

    @property
    def tokens(self) -> dict[str, str]:
        """What stands for what in the template."""
        return {
            "@distribution@": self.distribution,
            "@package@": self.distribution.replace("-", "_"),
            "@module@": "_".join(self.words),
            "@type@": "".join(word.title() for word in self.words),
            "@core_version@": ".".join(__version__.split(".")[:2]),
        }


def render(names: Names) -> Iterator[tuple[Path, str]]:
    """Yield every file of the new distribution, relative to its folder, with its text."""
    for file in sorted(TEMPLATE.rglob(f"*{_SUFFIX}")):
        path = str(file.relative_to(TEMPLATE)).removesuffix(_SUFFIX)
        yield Path(_fill(path, names)), _fill(file.read_text(encoding="utf-8"), names)


def _fill(text: str, names: Names) -> str:
    for token, value in names.tokens.items():
        text = text.replace(token, value)
    return text


@click.command()
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder in which the new one is made; default: the working directory.",
)
def new(name: str, into: Path) -> None:
    """Begin a plugin: a complete distribution with one source, its tests and a CI example."""
    try:
        names = Names.of(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    folder = into / names.distribution
    if folder.exists():
        raise click.UsageError(f"{folder} is there already")
    for path, text in render(names):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    type_name = names.tokens["@type@"]
    click.echo(f"{folder} is ready. Next:")
    click.echo(f"  pip install -e '{folder}[test]'")
    click.echo(f"  pytest {folder}")
    click.echo(f"  pollect plugins show {type_name}")
