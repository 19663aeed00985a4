"""The pytest plugin of pollect-core, for tests of plugins.

========================  ====================================================================
`source_promise`          runs the test once for each promise of a source, see `SourceCase`
`writer_promise`          the same for a writer, see `WriterCase`
`fake_clock`              a `FakeClock`
`certificate_authority`   a throw-away `CertificateAuthority`; skips when `openssl` is absent
`golden`                  compares text with a file, see `pollect.testing.golden`
========================  ====================================================================

`--renew-golden` writes the files that `golden` compares with.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pollect.testing import (
    SOURCE_PROMISES,
    WRITER_PROMISES,
    CertificateAuthority,
    FakeClock,
)
from pollect.testing.golden import compare_with_file


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pollect")
    group.addoption(
        "--renew-golden", action="store_true", help="write the files golden tests compare with"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, promises in (
        ("source_promise", SOURCE_PROMISES),
        ("writer_promise", WRITER_PROMISES),
    ):
        if fixture in metafunc.fixturenames:
            ids = [promise.__name__ for promise in promises]
            metafunc.parametrize(fixture, promises, ids=ids)


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def certificate_authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Give a function that compares a text with the file `golden/NAME` beside the test."""
    folder = Path(request.path).parent / "golden"
    renew = bool(request.config.getoption("--renew-golden"))

    def compare(name: str, text: str) -> None:
        compare_with_file(folder / name, text, renew=renew)

    return compare
