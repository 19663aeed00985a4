"""The section `roots` at the top of a config: where the host shows itself to a container."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.plugin import Roots

#: Folder at which a container finds the root of its host, with `proc`, `sys` and `dev` in it.
ROOT_VARIABLE = "POLLECT_ROOT"


class RootsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Folders in which the sources of the system family look for the host."""

    rootfs: Annotated[
        str | None,
        Meta(
            description="The host's root, as mounted here: `/host`; default: $POLLECT_ROOT, else /."
        ),
    ] = None
    proc: Annotated[
        str | None, Meta(description="The host's /proc; default: `proc` in `rootfs`.")
    ] = None
    sys: Annotated[str | None, Meta(description="The host's /sys; default: `sys` in `rootfs`.")] = (
        None
    )
    dev: Annotated[str | None, Meta(description="The host's /dev; default: `dev` in `rootfs`.")] = (
        None
    )


def choose_roots(options: RootsOptions | None, folder: Path, environ: Mapping[str, str]) -> Roots:
    """Return the roots that a config in `folder` and the environment name, or those of this host.

    What the config says goes before the environment.
    """
    options = options or RootsOptions()
    rootfs = folder.joinpath(options.rootfs or environ.get(ROOT_VARIABLE) or "/")

    def choose(option: str | None, name: str) -> Path:
        return folder / option if option else rootfs / name

    return Roots(
        proc=choose(options.proc, "proc"),
        sys=choose(options.sys, "sys"),
        dev=choose(options.dev, "dev"),
        rootfs=rootfs,
    )
