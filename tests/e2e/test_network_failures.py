"""Through the real command: a failed check is a value, and comes before the engine gives up."""

from pathlib import Path

from tests.e2e.command import call
from tests.simulators.tcp import full_backlog, serve_tcp, silent

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


def test_checks_that_time_out_are_reported_by_the_source_itself(tmp_path: Path) -> None:
    with serve_tcp(silent) as peer, full_backlog() as port:
        file = tmp_path / "config.yml"
        file.write_text(CONFIG.format(silent=peer.address, full=port))
        done = call("run", "-c", file, "--once", folder=tmp_path)
    assert "no answer within" not in done.stdout + done.stderr, "the engine gave up first"
    for source in ("Http", "TcpTime"):
        assert f"net.{source} []\n\t1000.0 (None, [])\n\t0.0 ('success', [])\n" in done.stdout
    assert "net.Certificate []\n\t0.0 ('success', [])\n" in done.stdout
    assert "net.Dns ['server', 'query', 'record_type']\n\t0 ('success'," in done.stdout
