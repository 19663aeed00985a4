"""The daemon: one engine, the config it runs, and the signals that it obeys."""

import logging
import threading
from pathlib import Path

from pollect import __version__
from pollect.daemon.build import Board, assemble
from pollect.daemon.loading import Loaded, reload
from pollect.daemon.signals import RELOADING, STOPPING, Signals
from pollect.daemon.systemd import Systemd
from pollect.delivery.spool.files import describe_contents, left_over
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import Plan
from pollect.errors import PollectError

log = logging.getLogger("pollect")


class Daemon:
    """One engine and the config it runs."""

    def __init__(self, loaded: Loaded, *, dry_run: bool = False, strict: bool = False) -> None:
        self._registry = loaded.registry
        self._file = loaded.config.file
        self._state_dir = loaded.config.state_dir
        #: Spools that were told of.
        self._left_over: set[Path] = set()
        self._dry_run = dry_run
        self._strict = strict
        self._clock = SystemClock()
        self._stopping = threading.Event()
        self._board = Board()
        self._plan = self._assemble(loaded)
        self._engine = Engine(self._plan, clock=self._clock, hooks=self._registry.hooks)
        self._board.engine, self._board.plan = self._engine, self._plan

    def run_once(self) -> int:
        """Probe every source once; return 1 if one failed or has troubles."""
        results = self._engine.run_once()
        return 0 if all(result.outcome.healthy for result in results) else 1

    def run(self, signals: Signals) -> int:
        """Run until a signal says stop; return the exit code."""
        systemd = Systemd()
        log.info("pollect %s runs %s", __version__, self._summary)
        self._engine.start()
        self._tell_left_over_spools()
        systemd.ready(self._summary)
        if systemd.watchdog_seconds is not None:
            self._engine.call_every(systemd.watchdog_seconds, systemd.alive)
        while (received := signals.wait()) not in STOPPING:
            if received is RELOADING:
                systemd.reloading()
                self._reload()
                systemd.ready(self._summary)
        systemd.stopping()
        log.info("%s: stopping", received.name)
        self._engine.stop()
        log.info("stopped")
        return 0

    @property
    def _summary(self) -> str:
        return describe_plan(self._plan, self._file)

    def _assemble(self, loaded: Loaded, previous: Plan | None = None) -> Plan:
        return assemble(
            loaded.config,
            loaded.registry,
            clock=self._clock,
            stopping=self._stopping,
            previous=previous,
            board=self._board,
        )

    def _reload(self) -> None:
        """Read the config anew; keep the old one if the new one cannot be used."""
        try:
            config = reload(self._file, self._registry, dry_run=self._dry_run, strict=self._strict)
            plan = self._assemble(Loaded(config, self._registry), previous=self._plan)
            self._engine.replace(plan)
        except PollectError as error:
            log.error("the config was not reloaded, the old one goes on:\n%s", error)
            return
        self._plan = self._board.plan = plan
        self._state_dir = config.state_dir
        self._tell_left_over_spools()
        for warning in config.warnings:
            log.warning("%s", warning)
        log.info("reloaded: now runs %s", self._summary)

    def _tell_left_over_spools(self) -> None:
        """Log once which files nobody empties, since an address in the config was changed."""
        if self._dry_run:
            return  # no writer of the config runs
        writers = (writer for part in self._plan.executors for writer in part.writers)
        for file in left_over(self._state_dir, writers):
            if file in self._left_over:
                continue
            self._left_over.add(file)
            contents = describe_contents(file)
            if contents:
                log.warning(
                    "%s holds %s for a target that no writer with a spool delivers to: "
                    "restore the old address to deliver them, or delete the file",
                    file, contents,
                )  # fmt: skip


def describe_plan(plan: Plan, file: Path) -> str:
    """Say in one line what a plan consists of."""
    sources = sum(len(executor.sources) for executor in plan.executors)
    writers = dict.fromkeys(
        writer.context.name for executor in plan.executors for writer in executor.writers
    )
    return (
        f"{file}: {_count(sources, 'source')} in {_count(len(plan.executors), 'executor')}, "
        f"written by {', '.join(writers) or 'nobody'}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
