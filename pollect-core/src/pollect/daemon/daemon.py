"""The daemon: one engine, the config it runs, and the signals that it obeys."""

import logging
import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pollect import __version__
from pollect.config.config import Config
from pollect.daemon.answers import remove_old_answers
from pollect.daemon.board import Board
from pollect.daemon.build import assemble, find_targets
from pollect.daemon.changes import count_changes, describe_changes
from pollect.daemon.control import Command, Control
from pollect.daemon.loading import Loaded, in_place, reload, unmoved
from pollect.daemon.overview import Overview
from pollect.daemon.reloading import RELOAD_SECONDS, Reload
from pollect.daemon.settling import Settling
from pollect.daemon.signals import Signals
from pollect.daemon.systemd import Systemd
from pollect.delivery.spool.files import left_over
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import Plan
from pollect.engine.selfmetrics import describe_daemon
from pollect.model import Batch
from pollect.model import Reload as ReloadOutcome
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.daemon.fleet import FleetPart
    from pollect.daemon.probes import ProbeDesk
    from pollect.daemon.targets import TargetSet

log = logging.getLogger("pollect")


class Daemon:
    """One engine and the config it runs."""

    def __init__(
        self, loaded: Loaded, *, dry_run: bool = False, strict: bool = False, once: bool = False
    ) -> None:
        """`once`: for `run_once`, which must know all targets before it begins."""
        self._registry = loaded.registry
        self._file = loaded.config.file
        #: The same, whatever plugins make of the working directory.
        self._place = self._file.absolute()
        self._state_dir = loaded.config.state_dir
        #: Spools that were reported.
        self._left_over: set[Path] = set()
        self._dry_run = dry_run
        self._strict = strict
        self._clock = SystemClock()
        self._stopping = threading.Event()
        self._board = Board()
        #: Kept only where inventories change what is made of it.
        self._targeted: Config | None = None
        self._targets = find_targets(loaded.config, fetch=once)
        self._targets_changed = threading.Event()
        self._plan = self._assemble(loaded, self._targets)
        self._take_targets(loaded.config, self._targets)
        config = in_place(loaded.config, self._place)
        self._fleet = _join_fleet(config, self._plan)
        self._engine = Engine(
            self._plan,
            clock=self._clock,
            hooks=self._registry.hooks,
            ownership=self._fleet,
            own_batches=self._own_batches,
        )
        self._overview = Overview(
            self._engine, self._plan, clock=self._clock, config=str(self._place)
        )
        self._overview.state_dir = str(self._state_dir)
        self._overview.plugin_of = self._plugin_of
        if self._fleet is not None:
            self._overview.fleet, self._overview.place_of = self._fleet.status, self._fleet.place
            self._overview.owned = self._fleet.owns
        self._take_probes(config, self._plan)
        self._board.engine, self._board.plan = self._engine, self._plan
        self._board.overview = self._overview
        self._control = Control(self._state_dir, self._commands)
        #: Who waits for the end of the next reload, and of the one that runs.
        self._reload_wanted_by: list[Callable[[ReloadOutcome], None]] = []
        self._wake: Callable[[], None] = lambda: None

    def run_once(self) -> int:
        """Probe every source once; return 1 if one is down or troubled, or samples are lost."""
        if self._fleet is not None:
            self._fleet.stand_alone()
        results = self._engine.run_once()
        well = all(result.outcome.healthy for result in results)
        for status in self._engine.writer_statuses():
            if status.lost_samples:
                well = False
                log.error("%s: %d samples were lost", status.writer, status.lost_samples)
        return 0 if well else 1

    def run(self, signals: Signals) -> int:
        """Run until a signal says stop; return the exit code."""
        systemd = Systemd()
        log.info("pollect %s runs %s", __version__, self._summary)
        if signals.reclaim():
            log.warning("a plugin changed what signals do while it was loaded: pollect undid it")
        self._wake = signals.wake
        if not self._dry_run:
            self._control.start(self._place)
        try:
            self._engine.start()
        except BaseException:
            self._control.close()
            raise
        if self._fleet is not None:
            self._fleet.start(self._ownership_changed)
        if self._targets is not None:
            self._targets.start(self._note_targets)
        signals.started()
        self._look_at_left_overs()
        systemd.ready(self._summary)
        if systemd.watchdog_seconds is not None:
            self._engine.call_every(systemd.watchdog_seconds, systemd.alive)
        reason = self._obey(signals, systemd)
        systemd.stopping()
        if reason:
            log.info("%s: stopping", reason)
        self._control.close()
        if self._targets is not None:
            self._targets.stop()
        if self._fleet is not None:
            self._fleet.stop()
        self._engine.stop()
        if reason:
            log.info("stopped")
        return 0

    def _obey(self, signals: Signals, systemd: Systemd) -> str:
        """Reload as often as asked; return why to stop, empty if it is to be done in silence."""
        reload: Reload | None = None
        of_targets = False
        waiting: list[Callable[[ReloadOutcome], None]] = []
        # Who has seen enough of a dry run, as `head`, ends it.
        watched = [1] if self._dry_run and _is_pipe(1) else []
        settling = Settling()
        settling.changed(self._clock.monotonic())
        while signals.stopping is None:
            if reload is not None and not reload.running:
                if not of_targets:
                    outcome = self._overview.last_reload = reload.outcome(self._clock.time())
                    for ended in waiting:
                        ended(outcome)
                    waiting = []
                reload = None
                systemd.ready(self._summary)
                settling.changed(self._clock.monotonic())
            asked = reload is None and (signals.take_reload() or bool(self._reload_wanted_by))
            if asked:
                waiting, self._reload_wanted_by = self._reload_wanted_by, []
                systemd.reloading()
                reload, of_targets = Reload(self._file, self._reload, signals.wake), False
            elif reload is None and self._targets_changed.is_set():
                self._targets_changed.clear()
                refusal = "new targets were not taken up, the old ones go on"
                work = self._follow_targets
                reload = Reload(self._file, work, signals.wake, refusal=refusal)
                asked = of_targets = True
            if asked and reload is not None:
                reload.start()
                begun = self._clock.monotonic()
                continue
            if watched and not _is_read(watched[0]):
                return ""
            if reload is None:
                signals.wait(settling.settle(self._clock.monotonic(), self._series), watched)
            elif (left := begun + RELOAD_SECONDS - self._clock.monotonic()) > 0:
                signals.wait(left, watched)
            else:
                reload.give_up()
                signals.wait(1.0, watched)
        if reload is not None:
            reload.abandon()
        return signals.stopping.name

    def _series(self) -> int:
        return sum(status.series for status in self._engine.source_statuses())

    def _ownership_changed(self, probe_now: bool) -> None:
        self._engine.ownership_changed(probe_now=probe_now)

    def _commands(self) -> Mapping[str, Command]:
        from pollect.daemon.commands import commands

        return commands(self._overview, self._ask_reload)

    def _ask_reload(self, ended: Callable[[ReloadOutcome], None]) -> None:
        self._reload_wanted_by.append(ended)
        self._wake()

    def _own_batches(self) -> list[Batch]:
        # A scrape waits for this: nothing in here may wait for a disk or the network.
        now = self._clock.time()
        batches = describe_daemon(self._overview.last_reload, now)
        targets, probes = self._targets, self._board.probes
        if targets is not None:
            batches.append(targets.batch(now))
        if probes is not None:
            batches.append(probes.batch(now))
        if self._fleet is not None:
            batches.append(self._fleet.batch(now))
        # Imported by the sources of clouds only.
        quota = sys.modules.get("pollect.support.quota")
        if quota is not None:
            batches += quota.describe_budgets()
        return batches

    def _plugin_of(self, type_name: str) -> str:
        known = self._registry.known("source", type_name)
        return "extension beside the config" if known is None else known.origin

    @property
    def _summary(self) -> str:
        return describe_plan(self._plan, self._file)

    def _assemble(
        self, loaded: Loaded, targets: "TargetSet | None", previous: Plan | None = None
    ) -> Plan:
        return assemble(
            loaded.config,
            loaded.registry,
            clock=self._clock,
            stopping=self._stopping,
            previous=previous,
            board=self._board,
            targets=targets,
        )

    def _reload(self, attempt: Reload) -> None:
        """Take up the config again; raises what stands against it, and changes nothing then."""
        file = unmoved(self._file, self._place)
        config = reload(file, self._registry, dry_run=self._dry_run, strict=self._strict)
        config = in_place(config, self._place)
        targets = find_targets(config, self._targets)
        plan = self._assemble(Loaded(config, self._registry), targets, previous=self._plan)
        if not attempt.commit():
            return
        if self._fleet is not None:
            self._fleet.follow(config, plan)
        self._engine.replace(plan)
        self._take_targets(config, targets)
        self._take_probes(config, plan)
        if targets is not None:
            targets.start(self._note_targets)
        changes = describe_changes(self._plan, plan)
        self._plan = self._board.plan = self._overview.plan = plan
        self._state_dir = config.state_dir
        self._overview.state_dir = str(config.state_dir)
        if not self._dry_run:
            self._control.follow(config.state_dir, self._place)
        attempt.changes = changes
        self._look_at_left_overs()
        for warning in config.warnings:
            log.warning("%s", warning)
        log.info("reloaded: now runs %s", self._summary)

    def _take_targets(self, config: Config, targets: "TargetSet | None") -> None:
        """Follow the inventories of a config that runs now."""
        if self._targets is not None:
            self._targets.stop(keep=targets)
        self._targets = self._board.targets = targets
        self._targeted = config if targets is not None else None
        if targets is not None:
            targets.finish()

    def _take_probes(self, config: Config, plan: Plan) -> None:
        """Answer requests with the modules of a config that runs now."""
        before = self._board.probes
        self._board.probes = _find_probes(config, plan, self._clock)
        if before is not None:
            before.stop()

    def _note_targets(self) -> None:
        self._targets_changed.set()
        self._wake()

    def _follow_targets(self, attempt: Reload) -> None:
        """Take up what inventories say now; raises what stands against it."""
        config, targets = self._targeted, self._targets
        if config is None or targets is None:
            return
        loaded = Loaded(in_place(config, self._place), self._registry)
        plan = self._assemble(loaded, targets, previous=self._plan)
        if not attempt.commit():
            return
        if self._fleet is not None:
            self._fleet.follow_targets(plan)
        self._engine.replace(plan)
        changes = count_changes(self._plan, plan)
        self._plan = self._board.plan = self._overview.plan = plan
        targets.finish()
        log.info("targets: %s", changes)

    def _look_at_left_overs(self) -> None:
        """Log once which spools are no longer emptied, and remove answers of old inventories.

        Samples are for the operator to decide about; answers can be asked for again.
        """
        if self._dry_run:
            return  # no writer of the config runs
        used = self._targets.answers() if self._targets is not None else set()
        remove_old_answers(self._state_dir, used, self._clock.time())
        writers = (writer for part in self._plan.executors for writer in part.writers)
        for folder, samples in left_over(self._state_dir, writers):
            if folder not in self._left_over:
                log.warning(
                    "%s holds %d samples for a target that no writer with a spool delivers to: "
                    "restore the old address to deliver them, or delete it",
                    folder, samples,
                )  # fmt: skip
            self._left_over.add(folder)


def _join_fleet(config: Config, plan: Plan) -> "FleetPart | None":
    """Return this daemon's part in a fleet; nothing of fleets is imported without one."""
    if config.fleet is None:
        return None
    from pollect.daemon.fleet import FleetPart

    return FleetPart(config.fleet, config, plan)


def _find_probes(config: Config, plan: Plan, clock: Clock) -> "ProbeDesk | None":
    """Return what answers requests for probes; nothing of it is imported without `probes`."""
    if not config.probes:
        return None
    from pollect.daemon.probes import ProbeDesk

    return ProbeDesk(config, clock=clock, stopping=plan.stopping, filters=plan.filters)


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _is_read(descriptor: int) -> bool:
    """Whether a pipe still has a reader."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return not poll.poll(0)


def describe_plan(plan: Plan, file: Path) -> str:
    """Say in one line what a plan consists of."""
    sources = sum(len(executor.sources) for executor in plan.executors)
    writers = dict.fromkeys(
        writer.context.name for executor in plan.executors for writer in executor.writers
    )
    return (
        f"{file}: {_count(sources, 'source')} in {_count(len(plan.executors), 'executor')}, "
        f"written by {', '.join(writers) or 'no writer'}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
