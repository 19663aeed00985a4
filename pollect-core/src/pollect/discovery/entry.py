"""A source or writer type together with the distribution it comes from."""

from typing import Literal, TypeAlias

import msgspec

from pollect.plugin import SourceSpec, WriterSpec
from pollect.version import __version__

Kind: TypeAlias = Literal["source", "writer"]
KINDS: tuple[Kind, ...] = ("source", "writer")


class Entry(msgspec.Struct, frozen=True):
    """One type that some distribution registers."""

    spec: SourceSpec | WriterSpec
    distribution: str
    #: Empty for a distribution that is not installed.
    version: str = ""
    #: Name of the entry point that leads to the plugin, unique within its distribution.
    entry_point: str = ""

    @property
    def kind(self) -> Kind:
        return "source" if isinstance(self.spec, SourceSpec) else "writer"

    @property
    def installed(self) -> bool:
        return bool(self.version)

    @property
    def origin(self) -> str:
        """Distribution and version, for people."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def requirement(self) -> str:
        """What pip takes to install the type: `pollect-sources-network[snmp]`."""
        return with_extras(self.distribution, [self.spec.extra] if self.spec.extra else [])

    @property
    def pip_command(self) -> str:
        """The command that installs the type, ready for a shell."""
        return pip_command(self.requirement)


def with_extras(distribution: str, extras: list[str]) -> str:
    """Return `distribution[extra,extra]`, or just the distribution."""
    return f"{distribution}[{','.join(sorted(set(extras)))}]" if extras else distribution


def pip_command(requirement: str) -> str:
    """Return the command that installs a requirement, ready for a shell."""
    import shlex  # costs a tenth of a megabyte, and most daemons have nothing to install

    return f"pip install {shlex.quote(requirement)}"


def minimum(version: str) -> str:
    """Return `>=X.Y` for a version; without one, pollect's own, which its distributions share."""
    return ">=" + ".".join((version or __version__).split(".")[:2])
