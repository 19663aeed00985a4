"""1.x and pollect before the same simulated box and access point: every series of 1.x is ours."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.beside_1x import (
    check_that_none_is_missing,
    collect_until,
    needs_1x,
    of_sources,
    old_pollect,
)
from tests.simulators.daemons import free_port
from tests.simulators.fritz_box import FritzBox
from tests.simulators.tp_link_eap import PASSWORD, USER, AccessPoint, old_data

pytestmark = [pytest.mark.integration, needs_1x("fritzconnection", "requests")]

#: 1.x has no option for the port.
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

    with old_pollect(old_file):
        expected = of_sources(
            collect_until(old_port, lambda found: len(of_sources(found)) >= SERIES_OF_1X)
        )
    assert len(expected) == SERIES_OF_1X, sorted(expected)
    check_that_none_is_missing(new_file, new_port, expected)
