"""Every error of pollect.

::

    PollectError
      ConfigError              a mistake in the config file            exit code 2
        InvalidConfig          several of them, reported together
      PluginError              a plugin cannot be used                 exit code 3
        UnknownPlugin
        DuplicatePlugin
        PluginLoadError
        MissingDependency
      ProbeError               the probe counts as failed
        TargetUnavailable
        AuthenticationFailed
        BadResponse
      NoData                   nothing to report, and that is normal
      WriteError               a writer could not deliver
        Retryable              the batches are kept and tried again
        Rejected               the target refused them: counted as lost
      EngineError              the daemon cannot run                   exit code 1

Facts are attributes, the sentence is for people: lower case, the thing in hand first, then what
was expected, then what to do. What a plugin may raise has a default for each fact in its class: a
subclass need not call the constructor of its base.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: Characters that one part of a message about a config may take, and the text of any error.
LONGEST_PART, LONGEST_TEXT = 1000, 4000


class PollectError(Exception):
    """Base of every error that pollect raises on purpose."""


class ConfigError(PollectError):
    """One mistake in the configuration.

    A plugin raises it with `key`, the config key inside its own section (`timeout`,
    `metrics[2].oid`); whoever knows the section fills in where that is.
    """

    problem: str = ""
    key: str = ""
    hint: str = ""
    file: Path | None = None
    line: int | None = None
    column: int | None = None

    def __init__(
        self,
        problem: str,
        *,
        key: str = "",
        hint: str = "",
        file: Path | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.hint = hint
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        key, problem, hint = map(_shorten, (self.key, self.problem, self.hint))
        text = ": ".join(part for part in (place, key, problem) if part)
        return f"{text} ({hint})" if hint else text


def _shorten(text: str) -> str:
    """Return a part of a message; a key or value of the file in it may be megabytes long."""
    return _cut(text, LONGEST_PART)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"


class InvalidConfig(ConfigError):
    """All mistakes of one config file, in the order of the file.

    `warnings` are those among them that would not have stopped anything by themselves.
    """

    problems: tuple[ConfigError, ...] = ()
    warnings: tuple[ConfigError, ...] = ()

    def __init__(
        self, problems: Sequence[ConfigError], *, warnings: Sequence[ConfigError] = ()
    ) -> None:
        super().__init__(f"{len(problems)} problem(s) in the configuration")
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class PluginError(PollectError):
    """A source or writer type cannot be used."""


class UnknownPlugin(PluginError):
    """No installed distribution registers this type."""

    def __init__(self, type_name: str, kind: str, hint: str = "", *, suggestion: str = "") -> None:
        super().__init__(f"unknown {kind} type {type_name!r}" + (f" ({hint})" if hint else ""))
        self.type_name = type_name
        self.kind = kind
        self.hint = hint
        #: The type that was probably meant; empty if there is none like it.
        self.suggestion = suggestion


class DuplicatePlugin(PluginError):
    """Two distributions register the same type."""

    def __init__(self, type_name: str, kind: str, distributions: Sequence[str]) -> None:
        both = " and ".join(distributions)
        super().__init__(
            f"{kind} type {type_name!r} is registered by {both}; uninstall one of them"
        )
        self.type_name = type_name
        self.kind = kind
        self.distributions = tuple(distributions)


class PluginLoadError(PluginError):
    """A plugin module or class fails to import, or is not what its entry point promises."""


class MissingDependency(PluginError):
    """The third-party library or program that a plugin needs is not installed.

    `requirement` is what pip takes (`pollect-sources-network[snmp]`), or empty for a program;
    `program` and `package` name an external program and its Debian package. `load` imports the
    class that needs it, so that its section of a config can be judged all the same.
    """

    requirement: str = ""
    program: str = ""
    package: str = ""
    _load: Callable[[], Any] | None = None

    def __init__(
        self,
        message: str,
        *,
        requirement: str = "",
        program: str = "",
        package: str = "",
        load: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(message)
        self._load = load
        self.requirement = requirement
        self.program = program
        self.package = package

    @property
    def plugin(self) -> Any:
        """The class that needs it; None if it is not known or cannot be imported without it."""
        try:
            return self._load() if self._load else None
        except PluginError:
            return None


class ProbeError(PollectError):
    """The target could not be read; the probe counts as failed.

    `retry_in`: seconds after which another try is worthwhile, None when the source cannot say. The
    engine probes again then if the source's next tick is later; see `Source.retry_after`.
    """

    retry_in: float | None = None

    def __init__(self, *message: object, retry_in: float | None = None) -> None:
        super().__init__(*message)
        self.retry_in = retry_in


class TargetUnavailable(ProbeError):
    """The target cannot be reached, or does not answer in time."""


class AuthenticationFailed(ProbeError):
    """The target refuses the credentials."""


class BadResponse(ProbeError):
    """The target answered, but not as its protocol says."""


class NoData(PollectError):
    """There is nothing to report, and that is normal.

    The values reported before stay until they are too old. With `withdraw` they go at once:
    the source knows that what they described no longer exists.
    """

    withdraw: bool = False

    def __init__(self, message: str = "", *, withdraw: bool = False) -> None:
        super().__init__(message)
        self.withdraw = withdraw


class WriteError(PollectError):
    """A writer could not deliver its batches."""


class Retryable(WriteError):
    """The target is away or busy; the same batches are worth another try.

    `retry_after`: seconds the target asked to wait, None when it named no time.
    """

    retry_after: float | None = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(WriteError):
    """The target refused samples for good; trying again is useless.

    `lost`: how many samples of the batches were refused, None for all of them.
    """

    lost: int | None = None

    def __init__(self, message: str, *, lost: int | None = None) -> None:
        super().__init__(message)
        self.lost = lost


class EngineError(PollectError):
    """The daemon cannot start or go on; the message says what stands in the way."""


def describe(error: BaseException | None) -> str:
    """Return an error in one line for a log or a status page; empty for None.

    Never raises, whatever the `__str__` of a foreign exception does. Of a very long text the
    middle is left out.
    """
    if error is None:
        return ""
    name = type(error).__name__
    try:
        text = _cut(" ".join(str(error).split()), LONGEST_TEXT)
    except BaseException as fault:  # noqa: BLE001 - the text of a foreign exception is plugin code
        text = f"its text cannot be shown: {type(fault).__name__}"
    if isinstance(error, PollectError):
        return text or name
    return f"{name}: {text}" if text else name
