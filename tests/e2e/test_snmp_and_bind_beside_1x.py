"""1.x and pollect before the same snmpd and named: every series of 1.x exists in ours."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.beside_1x import (
    Series,
    check_that_none_is_missing,
    collect_until,
    needs_1x,
    of_sources,
    old_pollect,
)
from tests.simulators.daemons import free_port, free_udp_port
from tests.simulators.named import ZONE, ask, needs_named, run_named
from tests.simulators.snmpd import needs_snmpd, run_snmpd

AAAA, MX = 28, 15


pytestmark = [
    pytest.mark.integration,
    needs_named,
    needs_snmpd,
    pytest.mark.skipif(shutil.which("snmpget") is None, reason="snmpget is not installed"),
    needs_1x("requests"),
]

TABLE = "1.3.6.1.4.1.99999.2"
ROW = """\
override .{table}.1.{row} counter {row}000
override .{table}.2.{row} octet_str "p{row}"
"""
SNMPD = "createUser reader SHA authphrase AES privphrase\nrouser reader priv\n" + "".join(
    ROW.format(table=TABLE, row=row) for row in (1, 2, 3)
)

# Two seconds, since 1.x divides by the whole seconds between two probes of BIND.
CONFIG = """\
tickTime: 2
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: net
    sources:
      - type: SnmpGet
        name: Procurve
        host: {snmpd}
        metrics:
          - name: plain
            oid: iso.3.6.1.4.1.99999.2.1.1
          - name: named
            oid: iso.3.6.1.4.1.99999.2.1.1
            oidLabels: {{port: iso.3.6.1.4.1.99999.2.2.1}}
          - name: throughput
            mode: rate
            oid: iso.3.6.1.4.1.99999.2.1.${{if}}
            range: {{from: 1, to: 2, label: if}}
            oidLabels: {{port: "iso.3.6.1.4.1.99999.2.2.${{if}}"}}
          - name: octets
            oid: iso.3.6.1.4.1.99999.2.1.${{row}}
            range: {{from: 1, to: 3, label: row}}
          - name: octets
            oid: iso.3.6.1.4.1.99999.2.1.2
            oidLabels: {{row: iso.3.6.1.4.1.99999.2.2.2}}
      - type: SnmpGet
        name: secret
        host: {snmpd}
        snmpVersion: 3
        username: reader
        authPassPhrase: authphrase
        authProtocol: SHA
        privacyPassPhrase: privphrase
        privacyProtocol: AES
        metrics:
          - name: plain
            oid: iso.3.6.1.4.1.99999.2.1.1
      - type: Bind
        url: {named}
        views: [_default]
"""

#: 1 plain, 1 named, 2 rates, 4 octets, 1 of version 3.
SNMP_SERIES = 9


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A snmpd, and a named that has forwarded some queries."""
    zone_port, resolver_port, statistics_port = free_udp_port(), free_udp_port(), free_port()
    (tmp_path / "zone").mkdir()
    (tmp_path / "zone" / "example").write_text(ZONE)
    zone = 'zone "example" { type primary; file "example"; };'
    # Every name of this zone is asked for at the other server, and so goes to the cache.
    forward = (
        f'zone "example" {{ type forward; forward only; '
        f"forwarders {{ 127.0.0.1 port {zone_port}; }}; }};"
    )
    with ExitStack() as stack:
        stack.enter_context(
            run_named(tmp_path / "zone", zone, dns_port=zone_port, statistics_port=free_port())
        )
        stack.enter_context(
            run_named(
                tmp_path / "resolver",
                forward,
                dns_port=resolver_port,
                statistics_port=statistics_port,
            )
        )
        (tmp_path / "snmpd").mkdir()
        snmpd = stack.enter_context(run_snmpd(tmp_path / "snmpd", SNMPD))
        ask(resolver_port, "www.example")
        ask(resolver_port, "www.example", AAAA)
        yield {"snmpd": snmpd, "named": f"http://127.0.0.1:{statistics_port}"}


def is_complete(found: Series) -> bool:
    names = [name for name, _ in found]
    snmp = [name for name in names if name.startswith("net_SnmpGet")]
    # 1.x gives one rate of a range at the second probe, two at the third, and so on.
    return len(snmp) >= SNMP_SERIES and "net_Bind__default_cache_per_sec" in names


def test_every_series_of_1x_exists_with_equal_names_and_labels(
    tmp_path: Path, servers: dict[str, str]
) -> None:
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, **servers))
    new_file.write_text(CONFIG.format(port=new_port, **servers))

    with old_pollect(old_file):
        expected = of_sources(collect_until(old_port, is_complete))
    assert is_complete(expected), sorted(expected)
    check_that_none_is_missing(new_file, new_port, expected)
