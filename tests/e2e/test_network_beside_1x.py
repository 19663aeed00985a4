"""1.x and pollect before the same web servers: every series of 1.x exists in ours."""

import contextlib
import urllib.request
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.beside_1x import collect_until, needs_1x, of_sources, old_pollect
from tests.e2e.command import start
from tests.simulators.daemons import free_port
from tests.simulators.nginx import Nginx, run_nginx

pytestmark = [pytest.mark.integration, needs_1x("OpenSSL", "gevent", "requests")]

CONFIG = """\
tickTime: 1
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: net
    sources:
      - {{type: Http, name: one, url: "{nginx.http}/", labels: {{site: home}}}}
      - {{type: Http, name: broken, url: "{nginx.http}/broken", timeout: 3}}
      - {{type: Http, url: ["{nginx.http}/moved", "{nginx.https}/", "{nginx.http}/loop"]}}
      - {{type: Http, name: created, url: "{nginx.http}/", statusCode: 201}}
      - {{type: TcpTime, name: web, host: 127.0.0.1, port: {nginx.tls_port}}}
      - {{type: Certificate, name: cert, url: "{nginx.https}/"}}
      - {{type: Certificate, name: host, host: localhost, port: {nginx.tls_port}}}
      - type: HttpIngress
        name: pushed
        port: {ingress}
        metrics: {{queue: {{type: gauge, labels: [site]}}}}
"""

PUSH = b'{"metrics": {"queue": {"value": 7, "labels": {"site": "north"}}}}'


def push(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", PUSH, {"Content-Type": "application/json"}
    )
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
        return bool(answer.status == 200)
    return False


def test_every_series_of_1x_exists_with_equal_names_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(file: Path, nginx: Nginx) -> tuple[Path, int, int]:
        port, ingress = free_port(), free_port()
        file.write_text(CONFIG.format(port=port, ingress=ingress, nginx=nginx))
        return file, port, ingress

    with run_nginx(tmp_path) as nginx:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.ca_file))
        file, port, ingress = config(tmp_path / "old.yml", nginx)
        with old_pollect(file):
            wait_until(lambda: push(ingress))
            expected = of_sources(
                collect_until(port, lambda found: len(of_sources(found)) >= SERIES_OF_1X)
            )
        assert len(expected) == SERIES_OF_1X, sorted(expected)

        file, port, ingress = config(tmp_path / "new.yml", nginx)
        with start("run", "-c", file, folder=tmp_path):
            wait_until(lambda: push(ingress))
            found = collect_until(port, expected.issubset)
        assert expected - found == set()


#: Three of a list of URLs, three more of Http, TcpTime, two certificates, the pushed one.
SERIES_OF_1X = 10
