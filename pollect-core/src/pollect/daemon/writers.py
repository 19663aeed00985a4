"""The writers of a plan: equal sections become one, and equal ones of the old plan go on."""

import threading
from collections.abc import Iterable
from typing import Any

from pollect.config.config import Config, WriterSection
from pollect.daemon.board import Board
from pollect.daemon.constructing import Construction
from pollect.plugin import Clock, Writer, WriterConfig, WriterContext


class Writers:
    """Builds each writer of a config once, under a name of its own."""

    def __init__(
        self,
        config: Config,
        construction: Construction,
        old: Iterable[Writer[Any]],
        board: Board,
        *,
        clock: Clock,
        stopping: threading.Event,
        ready: threading.Event,
    ) -> None:
        """`old` are the writers that run now."""
        self._config = config
        self._directory = config.directory
        self._construction = construction
        self._board = board
        self._clock = clock
        self._stopping = stopping
        self._ready = ready
        sections = [part for executor in config.executors for part in executor.writers]
        #: Those of the old plan that go on in this one.
        self._kept = [
            writer for writer in old if any(self._is_same(writer, section) for section in sections)
        ]
        self._writers: list[Writer[Any]] = []
        #: Paths of sections that more executors may share: each is refused once.
        self._refused: set[str] = set()

    def writer(self, section: WriterSection) -> Writer[Any] | None:
        """Return the writer of a section, None if it refuses that."""
        if section.path in self._refused:
            return None
        for known in (*self._writers, *self._kept):
            if self._is_same(known, section):
                writer: Writer[Any] | None = known
                break
        else:
            writer = self._new(section)
        if writer is None:
            self._refused.add(section.path)
        elif not any(known is writer for known in self._writers):
            self._writers.append(writer)
            self._construction.note_ports(writer, section.path)
            if section.config.spool:  # it is called by what distinguishes its target
                self._construction.built(writer.target_identity, section.path, section.config.type)
        return writer

    def context(self, name: str) -> WriterContext:
        """Return what a writer of this name gets from the daemon."""
        board = self._board
        return WriterContext(
            name=name,
            clock=self._clock,
            config_dir=self._directory,
            state_dir=self._config.state_dir,
            stopping=self._stopping,
            ready=self._ready,
            sources=lambda: board.sources_of(name),
            writers=board.writers,
            status=lambda: board.status(name),
            source_detail=lambda source: board.source_detail(name, source),
            probe_now=lambda source: board.probe_now(name, source),
            self_batches=board.self_batches,
            probes=lambda: board.probes,
            targets=lambda: board.targets_of(name),
        )

    def _new(self, section: WriterSection) -> Writer[Any] | None:
        context = self.context(self._free_name(section.config.type))

        def build(config: WriterConfig) -> Writer[Any]:
            writer = section.writer_type(config, context)
            writer.check_files()
            return writer

        return self._construction.constructed(build, section.path, section.config)

    def _is_same(self, writer: Writer[Any], section: WriterSection) -> bool:
        return (
            type(writer) is section.writer_type
            and writer.config == section.config
            and writer.context.state_dir == self._config.state_dir
        )

    def _free_name(self, type_name: str) -> str:
        """Return a name that no other writer of this plan has, as far as the config got."""
        taken = {writer.context.name for writer in (*self._writers, *self._kept)}
        name, number = type_name, 1
        while name in taken:
            number += 1
            name = f"{type_name}-{number}"
        return name
