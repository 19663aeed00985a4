"""What a source and a writer under test have in common."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from unittest import SkipTest

from pollect.testing.contract.targets import Protocol

#: Real seconds for a target that answers.
PATIENCE_SECONDS = 30.0

Options: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One plugin, and how to put it to the test."""

    #: A section of a config. Give it a short `timeout`, which is for targets
    #: that do not work, and a value for every secret, so that the suite can look for leaks.
    section: Options
    #: Starts what the plugin talks to, and gives the options that lead there.
    target: Callable[[], AbstractContextManager[Options]] | None = None
    #: The options that lead to a host and port, where the suite puts targets that do not work; None
    #: for a plugin without a network.
    at: Callable[[str, int], Options] | None = None
    protocol: Protocol = "http"
    #: Promises the plugin cannot keep, with the reason: `{"target_absent": "reports a value"}`.
    exempt: Mapping[str, str] = field(default_factory=dict)

    @property
    def plugin(self) -> type[Any]:
        """The class under test."""
        raise NotImplementedError

    @contextmanager
    def working(self) -> Iterator[Options]:
        """Give the options that lead to a working target, and the time for it to answer."""
        with self.target() if self.target else nullcontext({}) as options:
            yield {**self.patience, **options}

    @property
    def patience(self) -> Options:
        """A `timeout` that no target misses that answers, on however busy a machine."""
        own = self.section.get("timeout")
        short = isinstance(own, int | float) and own < PATIENCE_SECONDS
        return {"timeout": PATIENCE_SECONDS} if short else {}

    def at_target(self, host: str, port: int) -> Options:
        """Return the options that lead to a target of the suite."""
        if self.at is None:
            raise SkipTest("it has no target in a network")
        return self.at(host, port)
