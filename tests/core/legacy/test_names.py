"""What the names of pollect 1.x do. Facts observed on pollect 1.2.3."""

import sys
import threading

import pytest

from pollect.core.config.ConfigContainer import ConfigContainer  # type: ignore[import-not-found]
from pollect.core.events.Event import Event  # type: ignore[import-not-found]
from pollect.core.Helper import (  # type: ignore[import-not-found]
    accept,
    get_url,
    remove_empty_list,
)
from pollect.core.Log import Log  # type: ignore[import-not-found]
from pollect.core.OSEnv import is_linux  # type: ignore[import-not-found]
from pollect.core.ValueCache import ValueCache  # type: ignore[import-not-found]
from pollect.core.ValueSet import AvgValue, Value, ValueSet  # type: ignore[import-not-found]
from pollect.libs.Units import Unit, ValueWithUnit, Ws  # type: ignore[import-not-found]
from pollect.libs.Utils import chunks, put_if_absent  # type: ignore[import-not-found]
from pollect.testing import HttpResponse, absent_port, serve_http
from pollect.writers.Writer import (  # type: ignore[import-not-found]
    DryRunWriter,
    InMemoryWriter,
    ParallelInMemoryWriter,
)


def test_value_keeps_what_it_is_given_and_counts_with_booleans() -> None:
    assert (Value(True).value, type(Value(True).value)) == (1, int)
    assert (Value("x").value, Value(None).value) == ("x", None)
    assert repr(Value(1, ["a"], "n")) == "1 (n, ['a'])"


def test_the_key_of_a_value_joins_name_and_labels_even_without_a_name() -> None:
    assert Value(1, ["a", "b"], "n").get_key() == "nab"
    assert Value(1, ["a"]).get_key() == "a"


def test_value_set_prints_its_name_labels_and_values() -> None:
    found = ValueSet(["a"])
    found.add(Value(1, ["x"]))
    found.add(Value(2, ["y"], "n"))
    found.name = "c.T"
    assert repr(found) == "c.T ['a']\n\t1 (None, ['x'])\n\t2 (n, ['y'])"


def test_average() -> None:
    average = AvgValue(Value(1))
    average.add(Value(5))
    average.add(Value(7))
    assert (average.count, average.sum) == (3, 13)
    assert average.avg() == pytest.approx(13 / 3)


def test_cache_keeps_the_last_value_or_the_average_of_a_series() -> None:
    cache = ValueCache()
    for value, label, name, average in [
        (1, "a", "n", False),
        (3, "a", "n", False),
        (5, "b", "m", True),
        (10, "b", "m", True),
        (9, "x", None, False),
    ]:
        cache.add(Value(value, [label], name), average)
    flushed = [(v.value, v.label_values, v.name) for v in cache.flush_values()]
    assert flushed == [(3.0, ["a"], "n"), (7.5, ["b"], "m"), (9.0, ["x"], None)]
    assert cache.flush_values() == []


def test_cache_waits_for_the_thread_that_holds_its_lock() -> None:
    cache = ValueCache()
    cache.lock()
    cache.add(Value(1))  # the holder itself goes on
    other = threading.Thread(target=cache.add, args=(Value(2, [], "late"),))
    other.start()
    assert [value.value for value in cache.flush_values()] == [1]
    cache.release()
    other.join(30)
    assert [value.name for value in cache.flush_values()] == ["late"]


def test_event_calls_its_listeners() -> None:
    calls: list[int] = []
    event = Event()
    event += calls.append
    event.fire(1)
    event -= calls.append
    event.fire(2)
    assert calls == [1]


def test_units() -> None:
    assert (Unit.milli("W").get_unit(), Unit.milli("W").get_base()) == ("mW", "W")
    assert Unit.milli("W").to_base(5) == 0.005
    assert Unit.tenth("A").to_base(5) == 0.5
    assert Unit.hundredth("A").to_base(5) == 0.05
    assert (Ws().get_unit(), Ws().get_base(), Ws().to_base(3_600_000)) == ("Ws", "kWh", 1.0)
    assert str(ValueWithUnit(3, Unit.milli("W"))) == "0.003 W"


def test_utils() -> None:
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    kept = {"a": 1}
    assert (put_if_absent(kept, "a", 2), put_if_absent(kept, "b", 2)) == (1, 2)
    assert kept == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("include", "exclude", "value", "accepted"),
    [
        (None, None, "a", True),
        (["a"], None, "a", True),
        (["a"], None, "ab", False),
        (["a"], ["a"], "a", False),
        (None, ["a"], "a", False),
        (None, ["a"], "b", True),
        ([], None, "a", False),
    ],
)
def test_accept(include, exclude, value, accepted) -> None:
    assert accept(include, exclude, value) is accepted


def test_remove_empty_list() -> None:
    assert remove_empty_list([]) is None
    assert remove_empty_list([None]) == [None]


def test_get_url_returns_text_of_the_expected_status() -> None:
    routes = {"/a": "hällo", "/gone": HttpResponse("sorry", status=410)}
    with serve_http(routes) as server:
        assert get_url(f"{server.url}/a") == "hällo"
        assert get_url(f"{server.url}/gone", expected_status=410) == "sorry"
        with pytest.raises(ValueError, match="Invalid status code 410"):
            get_url(f"{server.url}/gone")
    with serve_http({"*": lambda request: request.target}) as proxy:
        assert get_url("http://device.example/x", proxy=proxy.address) == "http://device.example/x"
    with absent_port() as port, pytest.raises(OSError, match="refused"):
        get_url(f"http://127.0.0.1:{port}/")
    with pytest.raises(ValueError, match="expected an http"):
        get_url("file:///etc/hostname")


def test_platform() -> None:
    assert is_linux() is (sys.platform != "win32")


def test_log_is_named_like_the_class() -> None:
    assert Log().log.name == "Log"
    assert Log("mine").log.name == "mine"


@pytest.fixture
def container(monkeypatch):
    monkeypatch.setenv("A", "va")
    monkeypatch.delenv("UNSET", raising=False)
    return ConfigContainer(
        {
            "number": 1,
            "text": "x${A}$$",
            "deep": {"inside": "${A}"},
            "items": [{"c": "${A}"}, "${A}", [{"d": "${A}"}]],
            "null": None,
            "unset": "${UNSET}",
        }
    )


def test_container_fills_in_variables_at_every_depth(container) -> None:
    assert container["number"] == 1
    assert container["text"] == "xva$"
    assert container["deep"]["inside"] == "va"
    assert isinstance(container["deep"], ConfigContainer)
    assert container["items"][0]["c"] == "va"
    assert container["items"][1] == "va"
    assert container["items"][2][0]["d"] == "va"


def test_container_gives_defaults_and_misses(container) -> None:
    assert container.get("missing") is None
    assert container.get("missing", 5) == 5
    assert container.get("null", 5) == 5
    for read in (lambda: container["missing"], lambda: container.get("missing", required=True)):
        with pytest.raises(KeyError, match="missing: option is missing"):
            read()
    with pytest.raises(KeyError, match="unset: variable UNSET is not set"):
        container["unset"]
    assert container.get("unset", ignore_missing_env="UNSET") == "${UNSET}"


def test_container_is_a_mapping_with_equality_by_content() -> None:
    one, two = ConfigContainer({"a": [1]}), ConfigContainer({"a": [1]})
    assert one == two
    assert one == {"a": [1]}
    assert one != ConfigContainer({"a": [2]})
    assert "a" in one
    assert (len(one), list(one), dict(one)) == (1, ["a"], {"a": [1]})
    assert list(one.items()) == [("a", [1])]


def test_small_writers(caplog) -> None:
    merged, parallel = InMemoryWriter({"a": 1}), ParallelInMemoryWriter({})
    merged.start()
    merged.write([ValueSet()])
    merged.stop()
    assert (merged.write_calls, len(merged.data)) == (1, 1)
    assert (merged.supports_partial_write(), parallel.supports_partial_write()) == (False, True)
    assert merged == InMemoryWriter({"a": 1})
    assert merged != InMemoryWriter({"a": 2})
    with caplog.at_level("INFO"):
        DryRunWriter("Mine").write([ValueSet(["a"])])
    assert "[Mine] Would write  ['a']" in caplog.text
