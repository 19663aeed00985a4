"""`Writer` of pollect 1.x, the base class of hand-written writers, and its small writers."""

from collections.abc import Mapping, Sequence
from typing import Any

from pollect.legacy.log import Log
from pollect.legacy.values import ValueSet


class Writer(Log):
    """Writes value sets somewhere.

    `config` is the section of the config, a `ConfigContainer` or in tests a dict. Two writers of
    one class with equal configs are equal.
    """

    def __init__(self, config: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.config = config

    def supports_partial_write(self) -> bool:
        """Whether it takes the values of each source at once, instead of all of a tick."""
        return False

    def start(self) -> None:
        """Connect; called once, before the first write."""

    def stop(self) -> None:
        """Let go of everything; called once."""

    def write(self, data: Sequence[ValueSet], source_ref: object = None) -> None:
        """Write the sets; `source_ref` stands for the source of a partial write."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.config == other.config

    __hash__ = None  # type: ignore[assignment]  # configs are mappings


class DryRunWriter(Writer):
    """Logs what the writer `name` would write."""

    def __init__(self, name: str) -> None:
        super().__init__(None)
        self._name = name

    def supports_partial_write(self) -> bool:
        return True

    def write(self, data: Sequence[ValueSet], source_ref: object = None) -> None:
        self.log.info("[%s] Would write %s", self._name, "\n###\n".join(map(repr, data)))


class InMemoryWriter(Writer):
    """Keeps everything that was written, for tests."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        #: The sets of each write.
        self.data: list[Sequence[ValueSet]] = []
        self.write_calls = 0

    def write(self, data: Sequence[ValueSet], source_ref: object = None) -> None:
        self.write_calls += 1
        self.data.append(data)


class ParallelInMemoryWriter(InMemoryWriter):
    """The same for partial writes."""

    def supports_partial_write(self) -> bool:
        return True
