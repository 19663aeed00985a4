"""The contract suite finds each way a plugin can break its promises."""

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any
from unittest import SkipTest

import pytest
from msgspec import Meta

from pollect.api import (
    BadResponse,
    Metric,
    Retryable,
    Sample,
    Secret,
    Source,
    SourceConfig,
    TargetUnavailable,
    Writer,
    WriterConfig,
)
from pollect.testing import (
    SOURCE_PROMISES,
    WRITER_PROMISES,
    SourceCase,
    WriterCase,
    no_leaks,
    serve_http,
)
from pollect.testing.contract import promises, sources, writers

LEVEL = Metric("level_metres", help="Water level.", unit="metres", labels=("pier",))
#: A healthy target answers within it on a slow machine, too.
TIMEOUT_SECONDS = 2.0


class TideConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host, with port if not 80.")]
    password: Annotated[Secret, Meta(description="Password of the gauge.")]


class TideSource(Source[TideConfig]):
    """A well-behaved source; the tests derive the naughty ones from it."""

    config_type = TideConfig
    metrics = (LEVEL,)

    def probe(self) -> Iterable[Sample]:
        return [LEVEL.sample(self.read_level(), "north")]

    def read_level(self) -> float:
        from urllib.request import urlopen

        try:
            with urlopen(f"http://{self.config.host}/level", timeout=TIMEOUT_SECONDS) as answer:
                text = answer.read().decode()
        except OSError as error:
            raise TargetUnavailable(f"{self.config.host}: {error}") from error
        try:
            return float(text)
        except ValueError as error:
            raise BadResponse(f"expected a number, got {text[:80]!r}") from error


def kept_here(every: Iterable[Callable[[Any], None]]) -> list[Any]:
    """Return the promises that the plugins of a test can keep: they cannot be imported by name."""
    return [
        pytest.param(promise, id=promise.__name__)
        for promise in every
        if promise.__name__ != "import_is_light"
    ]


@contextmanager
def gauge() -> Iterator[Mapping[str, Any]]:
    with serve_http({"/level": "2.5"}) as server:
        yield {"host": server.address}


def case_of(source_type: type[Source[Any]], **changes: Any) -> SourceCase:
    facts: dict[str, Any] = {
        "section": {"host": "localhost", "password": "hunter2"},
        "target": gauge,
        "at": lambda host, port: {"host": f"{host}:{port}"},
    }
    return SourceCase(source_type=source_type, **facts | changes)


@pytest.mark.parametrize("promise", kept_here(SOURCE_PROMISES))
def test_a_good_source_keeps_every_promise(promise) -> None:
    promise(case_of(TideSource))


class AsyncTideSource(TideSource):
    async def probe(self) -> Iterable[Sample]:  # type: ignore[override]
        return super().probe()


def test_an_async_source_is_driven_too() -> None:
    sources.samples_are_declared(case_of(AsyncTideSource))


class UndeclaredSource(TideSource):
    def probe(self):
        return {"depth": self.read_level()}


class DoubleSource(TideSource):
    def probe(self):
        return [LEVEL.sample(1.0, "north"), LEVEL.sample(2.0, "north")]


class NotFiniteSource(TideSource):
    def probe(self):
        return [LEVEL.sample(float("nan"), "north")]


class EmptySource(TideSource):
    def probe(self):
        return None


@pytest.mark.parametrize(
    ("source_type", "complaint"),
    [
        (UndeclaredSource, "metric depth is emitted but not declared; declared are level_metres"),
        (DoubleSource, r"level_metres with labels \('north',\) is emitted twice"),
        (NotFiniteSource, "value of level_metres is nan, expected a finite number"),
    ],
)
def test_bad_samples_are_found(source_type, complaint) -> None:
    with pytest.raises(AssertionError, match=complaint):
        sources.samples_are_declared(case_of(source_type))


def test_a_source_that_brings_nothing_is_found(monkeypatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_WAIT_SECONDS", 0.1)
    with pytest.raises(AssertionError, match=r"a working target brought nothing in 0.1 s"):
        sources.samples_are_declared(case_of(EmptySource))


class OptimisticSource(TideSource):
    def read_level(self) -> float:
        try:
            return super().read_level()
        except (TargetUnavailable, BadResponse):
            return 0.0


class UnmappedSource(TideSource):
    def read_level(self) -> float:
        try:
            return super().read_level()
        except TargetUnavailable as error:
            raise error.__cause__ or error from None


@pytest.mark.parametrize(
    "promise",
    [
        sources.target_absent,
        sources.target_silent,
        sources.target_stalls,
        sources.target_talks_rubbish,
    ],
)
def test_a_made_up_value_instead_of_an_error_is_found(promise) -> None:
    with pytest.raises(AssertionError, match="got values, expected"):
        promise(case_of(OptimisticSource))


def test_a_foreign_error_is_found() -> None:
    complaint = "an absent target: expected TargetUnavailable, got URLError"
    with pytest.raises(AssertionError, match=complaint):
        sources.target_absent(case_of(UnmappedSource))


class HangingSource(TideSource):
    release = threading.Event()

    def read_level(self) -> float:
        self.release.wait()
        raise TargetUnavailable("at last")

    def deadline_seconds(self) -> float:
        return 0.05


def test_a_source_that_hangs_is_found(monkeypatch) -> None:
    monkeypatch.setattr(sources, "SLACK_SECONDS", 0.05)
    try:
        with pytest.raises(AssertionError, match=r"a silent target: still busy after|left behind"):
            sources.target_silent(case_of(HangingSource))
    finally:
        HangingSource.release.set()


class CarelessSource(TideSource):
    release = threading.Event()

    def open(self):
        threading.Thread(target=self.release.wait, name="careless").start()


def test_a_thread_left_behind_is_found(monkeypatch) -> None:
    monkeypatch.setattr(sources, "no_leaks", functools.partial(no_leaks, limit_seconds=0.05))
    try:
        with pytest.raises(AssertionError, match="left behind: thread 'careless'"):
            sources.close_leaves_nothing(case_of(CarelessSource))
    finally:
        CarelessSource.release.set()


class OnceOnlySource(TideSource):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("closed twice")
        self.closed = True


def test_a_close_that_works_once_only_is_found() -> None:
    with pytest.raises(RuntimeError, match="closed twice"):
        sources.close_leaves_nothing(case_of(OnceOnlySource))


class TalkativeSource(TideSource):
    def open(self):
        logging.getLogger("somewhere").debug("password is %s", self.config.password.reveal())


class TactlessSource(TideSource):
    def read_level(self):
        raise TargetUnavailable(f"http://user:{self.config.password.reveal()}@gauge is away")


@pytest.mark.parametrize(
    ("source_type", "where"), [(TalkativeSource, "the log"), (TactlessSource, "an error")]
)
def test_a_secret_that_shows_is_found(source_type, where) -> None:
    with pytest.raises(AssertionError, match=f"secret 1 of the config can be read in {where}"):
        sources.secrets_stay_hidden(case_of(source_type))


class CarelessConfig(SourceConfig, frozen=True, kw_only=True):
    api_token: Annotated[str, Meta(description="Token.")] = ""


class UndescribedConfig(SourceConfig, frozen=True, kw_only=True):
    height: float = 0.0


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (CarelessConfig, "option apiToken looks like a secret: make it a Secret"),
        (UndescribedConfig, "option height has no Meta"),
    ],
)
def test_careless_options_are_found(config, complaint) -> None:
    source_type = type("AnySource", (TideSource,), {"config_type": config})
    with pytest.raises(AssertionError, match=complaint):
        promises.options_are_described(case_of(source_type))


def test_careless_metrics_are_found() -> None:
    source_type = type("AnySource", (TideSource,), {"metrics": (Metric("level"),)})
    with pytest.raises(AssertionError, match="help of metric level: expected a sentence"):
        sources.metrics_are_described(case_of(source_type))
    with pytest.raises(AssertionError, match="declares no metrics"):
        sources.metrics_are_described(case_of(type("BareSource", (TideSource,), {"metrics": ()})))


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import yaml", "imports yaml when it is imported itself"),
        ("try:\n    import yaml\nexcept ImportError:\n    pass", "imports yaml"),
        (
            "from threading import Event, Thread\nThread(target=Event().wait, daemon=True).start()",
            "starts a thread",
        ),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_heavy_import_is_found(tmp_path, monkeypatch, code, complaint) -> None:
    (tmp_path / "heavy_tide.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    source_type = type("AnySource", (TideSource,), {"__module__": "heavy_tide"})
    with pytest.raises(AssertionError, match=complaint):
        promises.import_is_light(case_of(source_type))


def test_an_exemption_skips_with_its_reason() -> None:
    case = case_of(OptimisticSource, exempt={"target_absent": "reports 0"})
    absent = next(promise for promise in SOURCE_PROMISES if promise.__name__ == "target_absent")
    with pytest.raises(SkipTest, match="reports 0"):
        absent(case)


class PostConfig(WriterConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host and port.")] = ""
    token: Annotated[Secret, Meta(description="Token of the host.")] = Secret("")


class PostWriter(Writer[PostConfig]):
    """A well-behaved writer."""

    config_type = PostConfig

    def write(self, batches) -> None:
        from urllib.request import urlopen

        try:
            urlopen(f"http://{self.config.host}/", data=b"x", timeout=TIMEOUT_SECONDS).close()
        except (OSError, ValueError) as error:
            raise Retryable(f"{self.config.host}: {error}") from error
        except Exception as error:
            raise Retryable(f"{self.config.host} answered rubbish") from error


@contextmanager
def post_office() -> Iterator[Mapping[str, Any]]:
    with serve_http({"*": ""}) as server:
        yield {"host": server.address}


def writer_case_of(writer_type: type[Writer[Any]]) -> WriterCase:
    return WriterCase(
        writer_type=writer_type,
        section={"token": "hunter2"},
        target=post_office,
        at=lambda host, port: {"host": f"{host}:{port}"},
    )


@pytest.mark.parametrize("promise", kept_here(WRITER_PROMISES))
def test_a_good_writer_keeps_every_promise(promise) -> None:
    promise(writer_case_of(PostWriter))


class ForgetfulWriter(PostWriter):
    def write(self, batches) -> None:
        pass


def test_a_writer_that_hides_an_outage_is_found() -> None:
    with pytest.raises(AssertionError, match="an absent target: no error, expected Retryable"):
        writers.target_absent(writer_case_of(ForgetfulWriter))


def test_promises_have_names_and_texts() -> None:
    for promise in (*SOURCE_PROMISES, *WRITER_PROMISES):
        assert promise.__doc__
        assert promise.__name__.isidentifier()


@pytest.mark.parametrize(
    ("own", "of_target", "given"),
    [
        ({}, {}, {}),
        ({"timeout": 0.3}, {}, {"timeout": 30.0}),
        ({"timeout": 30}, {}, {}),
        ({"timeout": 0.3}, {"timeout": 0.5}, {"timeout": 0.5}),
    ],
)
def test_a_working_target_is_not_hurried_by_the_timeout_for_others(
    own: dict[str, Any], of_target: dict[str, Any], given: dict[str, Any]
) -> None:
    @contextmanager
    def target() -> Iterator[Mapping[str, Any]]:
        yield {"host": "a", **of_target}

    case = SourceCase(source_type=TideSource, section={"host": "b", **own}, target=target)
    with case.working() as options:
        assert options == {"host": "a", **given}
