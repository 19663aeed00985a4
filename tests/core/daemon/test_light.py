"""What every daemon imports, whatever its config says: megabytes that most have no use for."""

import subprocess
import sys

import pytest

#: With what each costs, mostly resident memory.
HEAVY = {
    "_hashlib": "OpenSSL, 4 MB",
    "ssl": "OpenSSL, 6 MB",
    "asyncio": "10 MB",
    "sqlite3": "2 MB",
    "click": "1.2 MB",
    "dataclasses": "a tenth of a start, as it compiles the methods of each class",
    "psutil": "1.1 MB",
}
DAEMON = (
    "pollect.cli.process, pollect.cli.calling, pollect.daemon.daemon, pollect.daemon.control, "
    "pollect_writers.prometheus.writer, pollect_sources_system.plugin, "
    "pollect_sources_system.memory_usage, pollect_sources_system.process"
)


@pytest.mark.parametrize("module", HEAVY)
def test_a_daemon_does_not_import_what_few_configs_need(module: str) -> None:
    script = f"import sys, {DAEMON}\nprint({module!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=150
    )
    assert done.stdout.strip() == "False", f"{module} ({HEAVY[module]})"


#: Modules of ours that wait for the first who looks, or for a config that needs them.
WAITING = {
    "pollect.daemon.commands": "who asks the control socket",
    "pollect.daemon.summaries": "who looks at the page",
    "pollect.delivery.memory": "a remote writer",
    "pollect.delivery.outbox": "a remote writer",
    "pollect.delivery.spool.folder": "a spool",
    "pollect.discovery.catalogue": "a type that is not installed",
    "pollect.engine.observing": "a plugin that observes",
    "pollect.engine.relaying": "a source that consumes a broker",
    "pollect_writers.prometheus.client_registry": "a plugin that counts with prometheus-client",
    "pollect_writers.prometheus.on_demand": "probes on demand, or inventories",
    "pollect_writers.prometheus.tls": "TLS",
    "shlex": "an extra that is missing",
    "pollect.human": "who looks at the page",
    "pollect.relay": "a source that consumes a broker",
    "pollect.status": "who looks at the page",
}


def test_a_daemon_does_not_import_what_nothing_has_asked_for_yet() -> None:
    script = f"import sys, {DAEMON}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=150
    )
    assert WAITING.keys() & set(done.stdout.split()) == set()
