"""Starts a daemon; without click, which a daemon has no use for."""

import signal
from typing import TYPE_CHECKING

from pollect.cli.session import Session
from pollect.config.apart import ConfigReading
from pollect.daemon.reaper import reap_as_process_1
from pollect.daemon.settling import collector_paused
from pollect.daemon.signals import Signals
from pollect.discovery.forked import PluginSearch
from pollect.forked import Forked

if TYPE_CHECKING:
    from pollect.daemon.daemon import Daemon


def run_daemon(
    config_name: str,
    session: Session,
    *,
    dry_run: bool = False,
    once: bool = False,
    strict: bool = False,
) -> int:
    """Run a config until a signal or, with `once`, until every source was probed.

    Returns the exit code: 0, or 1 if a source failed with `once`. Raises `PollectError` when it
    cannot start.
    """
    reap_as_process_1()
    session.start_daemon_log()
    if once:
        return _prepare(config_name, dry_run=dry_run, strict=strict, once=True).run_once()
    # What `Signals` leaves behind: a reload that is asked for at the very end changes nothing.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # From here on a signal waits until the daemon runs, and then stops it in order.
    with Signals() as signals:
        return _prepare(config_name, dry_run=dry_run, strict=strict).run(signals)


def _prepare(config_name: str, *, dry_run: bool, strict: bool, once: bool = False) -> "Daemon":
    with collector_paused():
        # In this order, as plugins may do anything to the process they are looked at in.
        reading, search = ConfigReading(config_name), PluginSearch()
        with Forked(reading, search):
            # Takes about as long as the two, which are done meanwhile.
            from pollect.daemon.daemon import Daemon
            from pollect.daemon.loading import load, log_warnings

            loaded = load(
                config_name, dry_run=dry_run, strict=strict, search=search, reading=reading
            )
        log_warnings(loaded.config, loaded.registry)
        return Daemon(loaded, dry_run=dry_run, strict=strict, once=once)
