"""1.x and pollect before the same simulated box and access point: every series of 1.x is ours."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_SECONDS, start
from tests.e2e.test_beside_1x import OLD_PYTHON, Series, collect_until
from tests.simulators.daemons import free_port
from tests.simulators.fritz_box import FritzBox
from tests.simulators.tp_link_eap import PASSWORD, USER, AccessPoint, old_data


def has_libraries() -> bool:
    if not OLD_PYTHON.exists():
        return False
    code = "import fritzconnection, requests"
    done = subprocess.run([OLD_PYTHON, "-c", code], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not has_libraries(),
        reason="pollect 1.x and its libraries are not in .bench/1x; `make test` puts them there",
    ),
]

#: 1.x cannot be told another port.
FRITZ_PORT = 49000

# Two seconds, since 1.x divides by the whole seconds between two probes of the box.
CONFIG = """\
tickTime: 2
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: net
    sources:
      - {{type: Fritz, ip: {box}, labels: {{site: home}}}}
      - {{type: Fritz, name: second.box, ip: {box}, pass: wrong}}
      - {{type: TpLinkEap, name: attic, url: "{point}", user: {user}, password: {password}}}
"""

#: Two totals and two rates of each box; clients, and three counters of two directions and radios.
SERIES_OF_1X = 2 * 4 + 1 + 3 * 2 * 2


@pytest.fixture
def box() -> Iterator[FritzBox]:
    """A box on the port of a real one; the address is hardly ever somebody else's."""
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    with FritzBox(host=host, port=FRITZ_PORT) as box:
        yield box


@pytest.fixture
def point() -> Iterator[AccessPoint]:
    with AccessPoint(old_data()) as point:
        yield point


def test_every_series_of_1x_exists_with_equal_names_and_labels(
    tmp_path: Path, box: FritzBox, point: AccessPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FRITZ_USERNAME", "FRITZ_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    options = {"box": box.host, "point": point.url, "user": USER, "password": PASSWORD}
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, **options))
    new_file.write_text(CONFIG.format(port=new_port, **options))

    old = subprocess.Popen(
        [OLD_PYTHON, "-m", "pollect.Pollect", "--config", old_file],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,  # 1.x leaves its session with the access point there
    )
    try:
        expected = of_sources(
            collect_until(old_port, lambda found: len(of_sources(found)) >= SERIES_OF_1X)
        )
    finally:
        old.terminate()
        old.wait(LIMIT_SECONDS)
    assert len(expected) == SERIES_OF_1X, sorted(expected)

    with start("run", "-c", new_file, folder=tmp_path):
        found = collect_until(new_port, expected.issubset)
    assert expected - found == set()


def of_sources(found: Series) -> Series:
    return {series for series in found if series[0].startswith("net_")}
