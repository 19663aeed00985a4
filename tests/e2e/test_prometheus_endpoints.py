"""Several endpoints in one daemon, with and without TLS, as the issue of the writers asks."""

import socket
import ssl
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.e2e.command import scrape, start
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port

#: More than an endpoint has places for clients.
SILENT_CLIENTS = 80
#: On a busy machine. A silent client gets 5 s: one after the other they would take minutes.
PATIENCE_SECONDS = 40.0

CONFIG = """\
tickTime: 0.2
selfMetrics: false
executors:
  - collection: house
    sources: [{{type: Dummy, value: 1}}]
    writer: {{type: Prometheus, bind: 127.0.0.1, port: {plain}, processMetrics: false}}
  - collection: garden
    sources: [{{type: Dummy, value: 2}}]
    writer: &secure
      type: PrometheusSsl
      bind: 127.0.0.1
      port: {secure}
      processMetrics: false
      cert: cert.pem
      key: key.pem
  - collection: cellar
    sources: [{{type: Dummy, value: 3}}]
    writers:
      - {{type: Prometheus, bind: 127.0.0.1, port: {plain}, processMetrics: false}}
      - *secure
"""


def renew(folder: Path, authority: Authority) -> None:
    leaf = authority.issue("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def values(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
    return {series: float(value) for series, _, value in lines}


def scrape_over_tls(port: int, context: ssl.SSLContext) -> str:
    address = f"https://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(address, timeout=30, context=context) as answer:
        text: str = answer.read().decode()
        return text


def served_certificate(port: int, context: ssl.SSLContext) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return connection.getpeercert(binary_form=True)


def test_endpoints_show_what_their_executors_read_and_no_silent_client_stops_them(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    renew(tmp_path, authority)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    plain, secure = free_port(), free_port()
    (tmp_path / "config.yml").write_text(CONFIG.format(plain=plain, secure=secure))
    with start("run", "-c", "config.yml", folder=tmp_path) as daemon, ExitStack() as silent:
        daemon.wait_for(f"https://127.0.0.1:{secure}/")
        wait_until(lambda: len(values(scrape(plain))) == 2, "both collections")
        for port in [plain, secure] * SILENT_CLIENTS:
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        began = time.monotonic()
        assert values(scrape(plain)) == {"house_Dummy": 1.0, "cellar_Dummy": 3.0}
        assert values(scrape_over_tls(secure, client)) == {
            "garden_Dummy": 2.0,
            "cellar_Dummy": 3.0,
        }
        assert time.monotonic() - began < PATIENCE_SECONDS
        before = served_certificate(secure, client)
        renew(tmp_path, authority)
        assert served_certificate(secure, client) not in (None, before)
        assert daemon.stop() == 0
    assert daemon.output.count("listening on") == 2
