"""200 SNMP agents with 100 objects each at a 10 s tick: the whole daemon, beside 1.x's forks.

The agents are simulated, in a process of their own that is not counted. Runs alone as well:
`python -m tests.bench.snmp`.
"""

import selectors
import shutil
import socket
import sys

from tests.bench.daemons import old, old_pollect, ours
from tests.bench.process import Daemon, peer
from tests.bench.table import OLD, OURS, Row, format_table
from tests.simulators.snmp_agent import COUNTER32, TICKS, UPTIME, SimulatedAgent, decode_all

AGENTS = 200
OBJECTS = 100
TICK_SECONDS = 10
ROUNDS = 3
GOAL_PERCENT = 0.6

IN_OCTETS = "1.3.6.1.2.1.2.2.1.10"
SERVE = "serve"

HEAD = """\
tickTime: 10
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: bench
    sources:
"""
SOURCE = """\
      - type: SnmpGet
        name: agent{number}
        host: 127.0.0.1:{port}
        snmpVersion: 2c
        metrics:
          - name: octets
            oid: iso.3.6.1.2.1.2.2.1.10.${{{{if}}}}
            range: {{{{from: 1, to: {objects}, label: if}}}}
"""


def serve() -> None:
    """Serve agents until standard input ends, after printing their ports."""
    values = {f"{IN_OCTETS}.{port}": (COUNTER32, 2**31 + port) for port in range(1, OBJECTS + 1)}
    agent = SimulatedAgent({UPTIME: (TICKS, 1), **values})
    answers: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
    selector = selectors.DefaultSelector()
    ports = []
    for _ in range(AGENTS):
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind(("127.0.0.1", 0))
        selector.register(bound, selectors.EVENT_READ)
        ports.append(bound.getsockname()[1])
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(*ports, flush=True)
    while True:
        for key, _ in selector.select():
            if not isinstance(key.fileobj, socket.socket):
                return
            request, peer = key.fileobj.recvfrom(65535)
            before, request_id, after = around_request_id(request)
            if (before, after) not in answers:
                head, _, tail = around_request_id(agent.answer(request) or b"")
                answers[before, after] = head, tail
            head, tail = answers[before, after]
            key.fileobj.sendto(head + request_id + tail, peer)


def around_request_id(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a message into what stands before its request id, the id, and the rest."""
    [(_, content)] = decode_all(message)
    _, _, (_, pdu) = decode_all(content)
    [(_, request_id), *_] = decode_all(pdu)
    start = len(message) - len(pdu) + 2
    end = start + len(request_id)
    return message[:start], message[start:end], message[end:]


def measured(daemon: Daemon) -> tuple[float, float, int]:
    """Return percent of a core, resident MB, and the number of series."""
    daemon.cpu_percent(TICK_SECONDS)  # the first round connects
    cpu = daemon.cpu_percent(ROUNDS * TICK_SECONDS)
    return cpu, daemon.resident_mb(), daemon.get().count(b"_octets{")


def run() -> list[Row]:
    """Measure both daemons against the same agents."""
    cpu: dict[str, float | None] = {}
    memory: dict[str, float | None] = {}
    series: dict[str, float | None] = {}
    with peer("tests.bench.snmp", SERVE) as ports:
        config = HEAD + "".join(
            SOURCE.format(number=number, port=port, objects=OBJECTS)
            for number, port in enumerate(ports)
        )
        with ours(config) as daemon:
            cpu[OURS], memory[OURS], series[OURS] = measured(daemon)
        if old_pollect() is not None and shutil.which("snmpget"):
            with old(config) as daemon:
                cpu[OLD], memory[OLD], series[OLD] = measured(daemon)
    missing = {name: AGENTS * OBJECTS - (found or 0) for name, found in series.items()}
    return [
        Row("200 SNMP agents x 100 objects, 10 s tick", "% of a core", cpu, goal=GOAL_PERCENT),
        Row("  resident memory", "MB", memory),
        Row("  missing series", "", missing),
    ]


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        print(format_table("200 SNMP agents", run()))
