"""Through the real command: a failed check is a value, and comes before the engine gives up."""

import re
from pathlib import Path

from tests.e2e.command import call
from tests.simulators.tcp import full_backlog, serve_tcp, silent, trickle

CONFIG = """\
tickTime: 1
writer: {{type: DryRun}}
executors:
  - collection: net
    sources:
      - {{type: Http, url: "http://{silent}/", timeout: 1}}
      - {{type: TcpTime, host: 127.0.0.1, port: {full}, timeout: 1}}
      - {{type: Certificate, url: "https://{silent}/", timeout: 1}}
      - {{type: Dns, server: 127.0.0.1, port: {full}, transport: tcp, query: h.test, timeout: 1}}
"""

DEVICES = """\
tickTime: 1
writer: {{type: DryRun}}
executors:
  - collection: net
    sources:
      - {{type: Fritz, name: plain, ip: 127.0.0.1, port: {port}, timeout: 1}}
      - {{type: Fritz, name: secure, ip: 127.0.0.1, port: {port}, tls: true, timeout: 1}}
      - type: TpLinkEap
        url: http://127.0.0.1:{port}
        user: admin
        password: admin
        timeout: 1
"""


def test_checks_that_time_out_are_reported_by_the_source_itself(tmp_path: Path) -> None:
    with serve_tcp(silent) as peer, full_backlog() as port:
        file = tmp_path / "config.yml"
        file.write_text(CONFIG.format(silent=peer.address, full=port))
        done = call("run", "-c", file, "--once", folder=tmp_path)
    assert "] down: " not in done.stdout + done.stderr, "the engine gave up first"
    for source, reason in {"Http": "no answer within 1 s", "TcpTime": "no answer in time"}.items():
        assert re.search(rf"\[net/{source}\] .*: {reason}\n", done.stderr), done.stderr
    for source in ("Http", "TcpTime"):
        assert f"net.{source} []\n\t1000.0 (None, [])\n\t0.0 ('success', [])\n" in done.stdout
    assert "net.Certificate []\n\t0.0 ('success', [])\n" in done.stdout
    assert "net.Dns ['server', 'query', 'record_type']\n\t0 ('success'," in done.stdout


def test_devices_that_trickle_fail_by_themselves_and_hold_no_worker(tmp_path: Path) -> None:
    with serve_tcp(trickle(b"HTTP/1.1 200 OK\r\nX-Filler: yes\r\n")) as peer:
        file = tmp_path / "config.yml"
        file.write_text(DEVICES.format(port=peer.port))
        done = call("run", "-c", file, "--once", folder=tmp_path)
    assert "timed out" not in done.stdout + done.stderr
    reasons = {
        "Fritz/plain": "no answer within 1 s",
        "Fritz/secure": "TLS failed: wrong version number",
        "TpLinkEap": "no answer within 1 s",
    }
    for source, reason in reasons.items():
        assert re.search(rf"\[net/{source}\] down: .*{reason}", done.stderr), done.stderr
