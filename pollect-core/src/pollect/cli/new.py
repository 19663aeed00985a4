"""`pollect plugins new`: begins a distribution of somebody's own."""

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pollect import __version__
from pollect.discovery.entry import Kind

TEMPLATE = Path(__file__).with_name("templates") / "plugin"
WRITER_TEMPLATE = TEMPLATE.with_name("writer")
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

        Raises `ValueError` when it cannot be the name of a module.
        """
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
        plain = re.sub(r"[\s_.-]+", "-", spaced).strip("-").lower().removeprefix(_PREFIX)
        module = plain.replace("-", "_")
        usable = module.isascii() and module.isidentifier() and not keyword.iskeyword(module)
        if not usable or module == "pollect":
            raise ValueError(
                f"{text!r} cannot be the name of a module; use a word such as 'rain-gauge'"
            )
        return cls(tuple(plain.split("-")))

    @property
    def distribution(self) -> str:
        return _PREFIX + "-".join(self.words)

    @property
    def type_name(self) -> str:
        return "".join(word.title() for word in self.words)

    @property
    def tokens(self) -> dict[str, str]:
        """What stands for what in the template."""
        return {
            "@distribution@": self.distribution,
            "@package@": self.distribution.replace("-", "_"),
            "@module@": "_".join(self.words),
            "@type@": self.type_name,
            "@core_version@": ".".join(__version__.split(".")[:2]),
        }


def render(names: Names, *, writer: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield every file of the new distribution, relative to its folder, with its text."""
    files = _files_of(TEMPLATE)
    if writer:  # which has its own in the place of some of them
        files |= _files_of(WRITER_TEMPLATE)
    for path, file in sorted(files.items()):
        yield Path(_fill(path, names)), _fill(file.read_text(encoding="utf-8"), names)


def _files_of(template: Path) -> dict[str, Path]:
    return {
        str(file.relative_to(template)).removesuffix(_SUFFIX): file
        for file in template.rglob(f"*{_SUFFIX}")
    }


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
    help="Folder to create it in; default: the working directory.",
)
@click.option("--writer", is_flag=True, help="Create a writer instead of a source.")
def new(name: str, into: Path, writer: bool) -> None:
    """Create a plugin: a complete distribution with a source, its tests and a CI example."""
    try:
        names = Names.of(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    _refuse_taken_type(names, "writer" if writer else "source")
    folder = into / names.distribution
    try:
        if folder.exists():
            raise click.UsageError(f"{folder} is there already")
        for path, text in render(names, writer=writer):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        where = error.filename or folder
        reason = f"cannot write {where}: {error.strerror or error}"
        raise click.UsageError(f"{reason}; choose another folder with --into") from error
    click.echo(f"{folder} is ready. Next:")
    click.echo(f"  pip install -e '{folder}[test]'")
    click.echo(f"  pytest {folder}")
    click.echo(f"  pollect plugins show {names.type_name}")


def _refuse_taken_type(names: Names, kind: Kind) -> None:
    """Refuse a type that another distribution has: a config could use neither of them."""
    from pollect.discovery.registry import Registry

    entry = Registry().known(kind, names.type_name)
    if entry is not None and entry.distribution != names.distribution:
        raise click.BadParameter(
            f"{entry.distribution} has a {kind} {names.type_name} already; choose another name",
            param_hint="NAME",
        )
