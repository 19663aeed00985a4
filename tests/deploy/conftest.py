"""Images are built once a run; where the tools cannot run, these tests skip, but never in CI."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import image

FULL = "localhost/pollect:full"
SLIM = "localhost/pollect:slim"


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[image.Podman]:
    reason = image.why_not()
    if reason:
        pytest.skip(reason)
    podman = image.Podman(tmp_path_factory.mktemp("podman"))
    with image.held_cache():
        podman.import_base(image.make_base())
        context = image.make_wheels()
    podman.build(FULL, context, BASE=image.BASE, PIP_ARGS="--no-index")
    podman.build(
        SLIM,
        context,
        BASE=image.BASE,
        PIP_ARGS="--no-index",
        FAMILIES="pollect-sources-system pollect-writers",
    )
    yield podman
    podman("rm", "--all", "--force")
    podman("rmi", "--all", "--force")
    podman.close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder that a container of pollect can read."""
    tmp_path.chmod(0o755)
    return tmp_path
