"""`Writer`, the base of everything that hands samples on."""

import logging
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec

from pollect.model import Batch
from pollect.plugin.config import WriterConfig, is_default
from pollect.plugin.context import WriterContext
from pollect.plugin.given import Given

WriterConfigT = TypeVar("WriterConfigT", bound=WriterConfig)

#: Options of a writer that do not say where samples go.
_NOT_THE_TARGET = frozenset({"type", "buffer", "spool", "self_metrics", "timeout"})


class Writer(Generic[WriterConfigT]):
    """Hands samples on.

    `write` is called by one thread at a time, of an `in_process` writer not always the same one.
    """

    #: The model of this writer's section in the config.
    config_type: ClassVar[type[WriterConfig]] = WriterConfig
    #: Quick and without a network: called in a thread that probes. If it blocks it keeps that
    #: thread, and loses what comes meanwhile.
    in_process: ClassVar[bool] = False
    #: Takes the batch of each source as soon as it is there; else those of one tick together.
    accepts_partial: ClassVar[bool] = False
    #: Only the latest value of a series matters: what is outdated in the buffer is not sent.
    latest_only: ClassVar[bool] = False
    #: Only a person looks at what it writes: a transport is not to be emptied for that.
    only_shows: ClassVar[bool] = False
    #: Whether it gets the metrics of pollect itself when the config does not say.
    self_metrics: ClassVar[bool] = True
    #: It has work to do before the first values come: it gets an empty batch at the start.
    opens_at_once: ClassVar[bool] = False
    #: Samples handed over in one `write` at most, unless a single batch is larger.
    batch_size: ClassVar[int] = 1000

    if not TYPE_CHECKING:
        config = Given(WriterConfig)
        context = Given(WriterContext)

    def __init__(self, config: WriterConfigT, context: WriterContext) -> None:
        """Validate `config`; no I/O here. Raises `ConfigError` with the `key` in question."""
        self.config = config
        self.context = context
        self.log = logging.getLogger(context.name)

    def check_files(self) -> None:
        """Look whether files that `config` names can be used, of those it cannot open without.

        Called once after the constructor, by `pollect check` as well; nothing is opened for good
        here and nothing beyond this machine is asked. Raises `ConfigError` with the `key` in
        question, upon which `run` does not start and a reload changes nothing.
        """

    def target_identity(self) -> Hashable:
        """Return what distinguishes the target: addresses, names of databases, users.

        A spool is named after its `repr`: samples that wait on disk go to the same target only.
        What may change without another target (time-outs, passwords, formats) has no part in it,
        and it stays the same from version to version. By default all options of the config that
        are not at their defaults, apart from those that every writer has.
        """
        return tuple(
            (field.name, repr(getattr(self.config, field.name)))
            for field in msgspec.structs.fields(self.config)
            if field.name not in _NOT_THE_TARGET and not is_default(field, self.config)
        )

    def listens_on(self) -> Sequence[tuple[str, int]]:
        """Return the TCP addresses and ports it opens, so that `check` finds two with the same.

        An empty address stands for all of them; a port of 0 is one that the system chooses.
        """
        return ()

    def open(self) -> None:
        """Connect.

        For a remote writer `Retryable` means: try again later, keep what comes until then. For an
        in-process writer any `WriteError` ends the start, a port in use for example.
        """

    def write(self, batches: Sequence[Batch]) -> None:
        """Deliver `batches`, oldest first; returning means that all of them arrived.

        Raises `Retryable` when the very same call is worth repeating and `Rejected` when the
        target refused some or all of the samples for good.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; called once or more often, also after a failed `open()`."""
