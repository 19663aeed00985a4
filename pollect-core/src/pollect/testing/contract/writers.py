"""What every writer promises."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from pollect.errors import Retryable, WriteError
from pollect.model import Batch, Kind, Metric, SourceId
from pollect.plugin import Writer
from pollect.testing.build import build_writer, installed_types
from pollect.testing.clock import FakeClock
from pollect.testing.contract.case import Case, Options
from pollect.testing.contract.classes import (
    check_hidden,
    secrets_in,
)
from pollect.testing.contract.promises import (
    exemptible,
    import_is_light,
    options_are_described,
    unknown_options_are_refused,
)
from pollect.testing.contract.running import expect_error, remembered_log
from pollect.testing.contract.targets import absent, rubbish, silent
from pollect.testing.leaks import no_leaks

#: Real seconds a writer may take to find out that its target does not answer.
LIMIT_SECONDS = 30.0

_TIME = 1_700_000_000.0
_POWER = Metric("power_watts", help="Power of an outlet.", unit="watts", labels=("outlet",))
_ENERGY = Metric("energy", help="Energy since\npower-up.", unit="joules", kind=Kind.COUNTER)
_NAMELESS = Metric(labels=("Etagen-Zähler", "le.ft"))

#: What writers have to cope with: odd names, no names, odd numbers, an empty batch.
BATCHES: tuple[Batch, ...] = (
    Batch(
        SourceId("home", "Plugs", "Küche 1"),
        [_POWER.sample(2.5, "a b"), _POWER.sample(-0.0, 'quote"\\\n'), _ENERGY.sample(2**60)],
        _TIME,
        (("site", "Çorum"), ("outlet", "static")),
    ),
    Batch(SourceId("home", "extensions.Tide-2"), [_NAMELESS.sample(1e-300, "", "x/y#+")], _TIME),
    Batch(SourceId("home", "Gone"), [], _TIME),
)


@dataclass(frozen=True, kw_only=True)
class WriterCase(Case):
    """One writer, and how to put it to the test."""

    #: The class, for one that no installed plugin registers.
    writer_type: type[Writer[Any]] | None = None

    @property
    def plugin(self) -> type[Writer[Any]]:
        """The class under test."""
        return self.writer_type or installed_types().writer_type(self.section["type"])

    def build(self, options: Options | None = None) -> Writer[Any]:
        """Return the writer; `options` come on top of the section."""
        section = {**self.section, **(options or {})}
        return build_writer(section, self.plugin, clock=FakeClock(time=_TIME))


def odd_batches_are_written(case: WriterCase) -> None:
    """Odd names, labels and numbers arrive at a working target, and so does a withdrawal."""
    with case.working() as options, no_leaks():
        writer = case.build(options)
        try:
            writer.open()
            writer.write(BATCHES)
            writer.write([Batch(batch.source, [], _TIME) for batch in BATCHES])
        finally:
            writer.close()


def target_absent(case: WriterCase) -> None:
    """A target that refuses connections is `Retryable`, in time."""
    with absent(case.protocol) as place:
        _check_failure(case, case.at_target(*place), Retryable, "an absent target")


def target_silent(case: WriterCase) -> None:
    """A target that never answers is `Retryable`, in time."""
    with silent(case.protocol) as place:
        _check_failure(case, case.at_target(*place), Retryable, "a silent target")


def target_talks_rubbish(case: WriterCase) -> None:
    """A target that speaks no known protocol is a `WriteError`."""
    with rubbish("tcp" if case.protocol == "http" else case.protocol) as place:
        _check_failure(case, case.at_target(*place), WriteError, "a target that talks rubbish")


def close_leaves_nothing(case: WriterCase) -> None:
    """`close()` works before `open()`, twice, and after a failure; no thread or socket is left."""
    with no_leaks():
        writer = case.build()
        writer.close()
        writer.close()
    with ExitStack() as stack:
        places = [stack.enter_context(case.working())]
        if case.at is not None:
            places.append(case.at(*stack.enter_context(absent(case.protocol))))
        for options in places:
            with no_leaks():
                writer = case.build(options)
                _try_write(writer)
                writer.close()
                writer.close()


def secrets_stay_hidden(case: WriterCase) -> None:
    """No secret of the config stands in a repr, a log line or an error, working or not."""
    writer = case.build()
    secrets = [text for text in secrets_in(writer.config) if text]
    if not secrets:
        return
    errors: list[str] = []
    with remembered_log() as lines, ExitStack() as stack:
        places = [stack.enter_context(case.working())]
        if case.at is not None:
            places.append(case.at(*stack.enter_context(absent(case.protocol))))
        for options in places:
            writer = case.build(options)
            errors += _try_write(writer)
            writer.close()
    texts = {"repr(config)": repr(writer.config), "repr(writer)": repr(writer)}
    check_hidden(secrets, {**texts, "the log": "\n".join(lines), "an error": "\n".join(errors)})


Promise: TypeAlias = Callable[[WriterCase], None]

#: Every promise of a writer, as a function of a `WriterCase`.
WRITER_PROMISES: tuple[Promise, ...] = exemptible(
    import_is_light,
    unknown_options_are_refused,
    options_are_described,
    odd_batches_are_written,
    target_absent,
    target_silent,
    target_talks_rubbish,
    close_leaves_nothing,
    secrets_stay_hidden,
)


def _try_write(writer: Writer[Any]) -> list[str]:
    try:
        writer.open()
        writer.write(BATCHES)
    except WriteError as error:
        return [str(error), repr(error), repr(error.__cause__)]
    return []


def _check_failure(
    case: WriterCase, options: Options, expected: type[WriteError], what: str
) -> None:
    writer = case.build(options)

    def write() -> None:
        try:
            writer.open()
            writer.write(BATCHES)
        finally:
            writer.close()

    with no_leaks():
        expect_error(write, expected, LIMIT_SECONDS, what)
