"""The text that `Prometheus` shows: names, formats, and what happens when series change."""

import logging
import math
import random
import sys
import threading
from collections.abc import Collection, Iterable, Iterator

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pollect.api import Batch, Kind, Metric, SourceId
from pollect.support.names import label_name, metric_name
from pollect_writers.prometheus.exposition import Exposition, Layout, join_open_metrics, join_text

LOAD = Metric(help="Average number of processes that run.", labels=("time",))
LOAD_AVG = SourceId("pollect", "LoadAvg")
SENT = Metric("sent", help="Bytes sent.", kind=Kind.COUNTER, labels=("nic",))
QUEUE = Metric("queue", help="Packets that wait.", labels=("nic",))
ERRORS = Metric("errors_total", help="Errors so far.", kind=Kind.COUNTER, labels=("nic",))
INTERFACE = SourceId("pollect", "Interface", "lan")

log = logging.getLogger("prometheus-test")


@pytest.fixture
def nervous_threads() -> Iterator[None]:
    """Let threads take turns far more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def shown() -> Exposition:
    return Exposition(log)


def text_of(exposition: Exposition, *names: str) -> str:
    return b"".join(join_text(exposition.blocks(), names)).decode()


def open_metrics_of(exposition: Exposition, *names: str) -> str:
    return b"".join(join_open_metrics(exposition.blocks(), names)).decode()


def series_of(exposition: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every series as prometheus-client's parser reads it; none may be there twice."""
    found = {}
    for family in text_string_to_metric_families(text_of(exposition)):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_a_scrape_is_this_text(shown: Exposition) -> None:
    samples = [LOAD.sample(0.52, "short"), LOAD.sample(1, "mid")]
    shown.put(Batch(LOAD_AVG, samples, 0.0, (("site", "cellar"),)))
    shown.put(Batch(INTERFACE, [SENT.sample(24686161920, "eth0")], 0.0))
    assert text_of(shown) == (
        "# HELP pollect_LoadAvg Average number of processes that run.\n"
        "# TYPE pollect_LoadAvg gauge\n"
        'pollect_LoadAvg{site="cellar",time="short"} 0.52\n'
        'pollect_LoadAvg{site="cellar",time="mid"} 1.0\n'
        "# HELP pollect_Interface_lan_sent Bytes sent.\n"
        "# TYPE pollect_Interface_lan_sent counter\n"
        'pollect_Interface_lan_sent{nic="eth0"} 24686161920.0\n'
    )


def test_openmetrics_keeps_the_names_of_samples(shown: Exposition) -> None:
    shown.put(Batch(INTERFACE, [SENT.sample(1, "eth0"), ERRORS.sample(2, "eth0")], 0.0))
    assert open_metrics_of(shown) == (
        "# HELP pollect_Interface_lan_sent Bytes sent.\n"
        "# TYPE pollect_Interface_lan_sent unknown\n"
        'pollect_Interface_lan_sent{nic="eth0"} 1.0\n'
        "# HELP pollect_Interface_lan_errors Errors so far.\n"
        "# TYPE pollect_Interface_lan_errors counter\n"
        'pollect_Interface_lan_errors_total{nic="eth0"} 2.0\n'
        "# EOF\n"
    )


@pytest.mark.parametrize(
    ("name", "kind", "family", "has_unit"),
    [
        ("free_bytes", Kind.GAUGE, "free_bytes", True),
        ("sent_bytes_total", Kind.COUNTER, "sent_bytes", True),
        ("sent_bytes", Kind.COUNTER, "sent_bytes", True),
        ("free", Kind.GAUGE, "free", False),
        ("megabytes", Kind.GAUGE, "megabytes", False),
        ("bytes_free", Kind.GAUGE, "bytes_free", False),
    ],
)
def test_openmetrics_tells_the_unit_that_a_name_ends_in(
    shown: Exposition, name: str, kind: Kind, family: str, has_unit: bool
) -> None:
    shown.put(Batch(INTERFACE, [Metric(name, unit="bytes", kind=kind).sample(1)], 0.0))
    text = open_metrics_of(shown)
    line = f"# UNIT pollect_Interface_lan_{family} bytes\n"
    assert text.count("# UNIT ") == text.count(line) == has_unit
    assert f"\npollect_Interface_lan_{name} 1.0\n" in text
    (parsed,) = openmetrics.text_string_to_metric_families(text)
    assert parsed.unit == ("bytes" if has_unit else "")


def test_openmetrics_takes_a_counter_beside_a_gauge_of_its_short_name(shown: Exposition) -> None:
    short = Metric("errors", help="Errors now.", labels=("nic",))
    shown.put(Batch(INTERFACE, [ERRORS.sample(2, "eth0")], 0.0))
    assert "errors counter\n" in open_metrics_of(shown)
    shown.put(Batch(INTERFACE, [ERRORS.sample(2, "eth0"), short.sample(1, "eth0")], 0.0))
    families = list(openmetrics.text_string_to_metric_families(open_metrics_of(shown)))
    assert {sample.name for family in families for sample in family.samples} == {
        "pollect_Interface_lan_errors_total",
        "pollect_Interface_lan_errors",
    }


@pytest.mark.parametrize(
    ("source", "value_name", "expected"),
    [
        (("pollect", "Http", None), None, "pollect_Http"),
        (("pollect", "Process", "web"), "load_percent", "pollect_Process_web_load_percent"),
        (("c", "extensions.Random", "n-1!"), "a.b", "c_extensions_Random_n_1_a_b"),
        (("1abc", "My Src", None), "Wärme%", "_abc_My_Src_W_rme_"),
        (("a/b", "T", None), "x:y", "a_b_T_x_y"),
        (("c", "T", None), "", "c_T_"),
    ],
)
def test_names_are_those_of_1x(
    source: tuple[str, str, str | None], value_name: str | None, expected: str
) -> None:
    assert metric_name(SourceId(*source), value_name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("my-label", "my_label"), ("a.b", "a_b"), ("__x", "_x"), ("--x", "_x"), ("1st", "_st")],
)
def test_label_names_are_what_the_formats_carry(name: str, expected: str) -> None:
    assert label_name(name) == expected


@pytest.mark.parametrize(
    "value", ["", "tab\there", 'a "quoted" \\ one', "two\nlines", "100 %s", "Wärme {1}", "a,b="]
)
def test_any_label_value_comes_back_as_it_was(shown: Exposition, value: str) -> None:
    shown.put(Batch(LOAD_AVG, [LOAD.sample(1, value)], 0.0, (("static", value),)))
    assert series_of(shown) == {
        ("pollect_LoadAvg", (("static", value), ("time", value))): 1.0,
    }
    (family,) = openmetrics.text_string_to_metric_families(open_metrics_of(shown))
    assert family.samples[0].labels == {"static": value, "time": value}


def test_help_with_quotes_and_newlines_is_escaped(shown: Exposition) -> None:
    help_text = 'A "quoted" \\ word\nand a line.'
    shown.put(Batch(LOAD_AVG, [Metric(help=help_text).sample(1)], 0.0))
    (family,) = text_string_to_metric_families(text_of(shown))
    assert family.documentation == help_text
    (family,) = openmetrics.text_string_to_metric_families(open_metrics_of(shown))
    assert family.documentation == help_text


def test_help_that_no_encoding_takes_costs_nothing_else(shown: Exposition) -> None:
    shown.put(Batch(LOAD_AVG, [Metric(help="x\udcff").sample(1)], 0.0))
    assert "# HELP pollect_LoadAvg x\ufffd\n" in text_of(shown)
    assert "# HELP pollect_LoadAvg x\ufffd\n" in open_metrics_of(shown)


def test_a_name_that_no_encoding_takes_costs_nothing_else(shown: Exposition) -> None:
    shown.put(Batch(LOAD_AVG, [LOAD.sample(1, "\udcff"), LOAD.sample(2, "mid")], 0.0))
    assert set(series_of(shown).values()) == {1.0, 2.0}


@pytest.mark.parametrize(
    "value", [5, 0.1, 1e300, -0.0, 12345678901234567890, 24686161920, math.inf, -math.inf]
)
def test_numbers_lose_nothing(shown: Exposition, value: float) -> None:
    shown.put(Batch(LOAD_AVG, [LOAD.sample(value, "short")], 0.0))
    assert list(series_of(shown).values()) == [float(value)]


def test_a_label_of_the_sample_wins_over_a_static_one_of_the_same_clean_name(
    shown: Exposition,
) -> None:
    metric = Metric("x", labels=("my-label",))
    shown.put(Batch(LOAD_AVG, [metric.sample(1, "own")], 0.0, (("my.label", "static"),)))
    assert text_of(shown).endswith('\npollect_LoadAvg_x{my_label="own"} 1.0\n')


def test_a_series_that_is_gone_disappears_and_an_empty_batch_takes_the_rest(
    shown: Exposition,
) -> None:
    shown.put(Batch(LOAD_AVG, [LOAD.sample(1, "short"), LOAD.sample(2, "mid")], 0.0))
    shown.put(Batch(LOAD_AVG, [LOAD.sample(3, "mid")], 0.0))
    assert series_of(shown) == {("pollect_LoadAvg", (("time", "mid"),)): 3.0}
    shown.put(Batch(LOAD_AVG, [], 0.0))
    assert text_of(shown) == ""


def test_sources_that_come_and_go_leave_nothing_behind(shown: Exposition) -> None:
    for number in range(50):
        source = SourceId("pollect", "Container", str(number))
        shown.put(Batch(source, [QUEUE.sample(1, "eth0")], 0.0))
        shown.put(Batch(source, [], 0.0))
    assert shown.blocks() == []
    assert not shown._renderers


def test_interleaved_metrics_are_grouped_and_stay_right_in_any_order(shown: Exposition) -> None:
    rng = random.Random(7)
    for _ in range(20):
        nics = rng.sample(["eth0", "eth1", "wlan0", "docker0"], rng.randint(1, 4))
        samples = [metric.sample(rng.random(), nic) for nic in nics for metric in (QUEUE, ERRORS)]
        for _ in range(2):
            shown.put(Batch(INTERFACE, samples, 0.0))
            assert series_of(shown) == {
                (f"pollect_Interface_lan_{sample.metric.name}", (("nic", *sample.label_values),)): (
                    sample.value
                )
                for sample in samples
            }
            families = list(text_string_to_metric_families(text_of(shown)))
            assert len(families) == 2


def test_sources_that_share_a_metric_share_one_family(shown: Exposition) -> None:
    first, second = SourceId("pollect", "Http"), SourceId("pollect", "Http", None, 1)
    metric, other = (
        Metric(help="Seconds.", labels=("url",)),
        Metric(help="Other.", labels=("host",)),
    )
    shown.put(Batch(first, [metric.sample(1, "a")], 0.0))
    shown.put(Batch(LOAD_AVG, [LOAD.sample(1, "short")], 0.0))
    shown.put(Batch(second, [other.sample(2, "b")], 0.0))
    assert text_of(shown, "pollect_Http") == (
        "# HELP pollect_Http Seconds.\n# TYPE pollect_Http gauge\n"
        'pollect_Http{url="a"} 1.0\npollect_Http{host="b"} 2.0\n'
    )
    shown.put(Batch(first, [], 0.0))
    assert text_of(shown, "pollect_Http").endswith('gauge\npollect_Http{host="b"} 2.0\n')


def test_a_series_of_two_sources_is_shown_once_until_the_first_gives_it_up(
    shown: Exposition, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = SourceId("pollect", "Http"), SourceId("pollect", "Http", None, 1)
    metric = Metric(labels=("url",))
    for _ in range(2):
        shown.put(Batch(first, [metric.sample(1, "a")], 0.0))
        shown.put(Batch(second, [metric.sample(2, "a"), metric.sample(2, "b")], 0.0))
    assert set(series_of(shown).values()) == {1.0, 2.0}
    assert len(caplog.records) == 1
    shown.put(Batch(first, [], 0.0))
    shown.put(Batch(second, [metric.sample(2, "a"), metric.sample(2, "b")], 0.0))
    assert list(series_of(shown).values()) == [2.0, 2.0]


@pytest.mark.usefixtures("nervous_threads")
def test_a_series_of_two_sources_is_shown_once_when_both_come_at_the_same_moment() -> None:
    series = [Metric(labels=("n",)).sample(1, str(number)) for number in range(200)]
    for _ in range(20):
        shown = Exposition(log)
        together = threading.Barrier(4)

        def probe(number: int, shown=shown, together=together) -> None:
            together.wait()
            shown.put(Batch(SourceId("pollect", "Http", None, number), series, 0.0))

        probes = [threading.Thread(target=probe, args=(number,)) for number in range(4)]
        for thread in probes:
            thread.start()
        for thread in probes:
            thread.join()
        assert len(series_of(shown)) == len(series)


def test_names_that_become_equal_are_shown_once(
    shown: Exposition, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [Metric("a.b").sample(1), Metric("a-b").sample(2)]
    for _ in range(2):
        shown.put(Batch(LOAD_AVG, samples, 0.0))
    assert list(series_of(shown).values()) == [1.0]
    assert len(caplog.records) == 1
    assert "pollect_LoadAvg_a_b" in caplog.text


def test_metrics_made_anew_for_every_probe_are_recognised(shown: Exposition) -> None:
    for value in range(3):
        shown.put(Batch(LOAD_AVG, [Metric("dynamic", labels=("x",)).sample(value, "1")], 0.0))
        assert list(series_of(shown).values()) == [float(value)]


def test_static_labels_may_change(shown: Exposition) -> None:
    for site in ("a", "b"):
        shown.put(Batch(LOAD_AVG, [LOAD.sample(1, "short")], 0.0, (("site", site),)))
        ((_, labels),) = series_of(shown)
        assert labels == (("site", site), ("time", "short"))


def test_single_metrics_can_be_picked_by_either_name(shown: Exposition) -> None:
    shown.put(Batch(INTERFACE, [SENT.sample(1, "eth0"), ERRORS.sample(2, "eth0")], 0.0))
    assert "sent" not in text_of(shown, "pollect_Interface_lan_errors_total")
    assert "errors_total{" in open_metrics_of(shown, "pollect_Interface_lan_errors")


def test_scrapes_during_writes_are_whole(shown: Exposition) -> None:
    """Sources come, change and go in eight threads; no scrape may see half of one."""
    done = threading.Event()
    wrong: list[str] = []

    def probe(number: int) -> None:
        rng = random.Random(number)
        source = SourceId("pollect", "Busy", None, number)
        metric = Metric("value", labels=("source", "series"))
        for turn in range(150):
            samples = [
                metric.sample(turn, str(number), str(series)) for series in range(rng.randint(0, 9))
            ]
            shown.put(Batch(source, samples, 0.0))
        shown.put(Batch(source, [metric.sample(-1, str(number), "last")], 0.0))

    def scrape() -> None:
        while not done.is_set():
            turns: dict[str, set[float]] = {}
            for (_, labels), value in series_of(shown).items():
                turns.setdefault(dict(labels)["source"], set()).add(value)
            wrong.extend(source for source, values in turns.items() if len(values) > 1)

    scraper = threading.Thread(target=scrape)
    scraper.start()
    probes = [threading.Thread(target=probe, args=(number,)) for number in range(8)]
    for thread in probes:
        thread.start()
    for thread in probes:
        thread.join()
    done.set()
    scraper.join()
    assert wrong == []
    assert sorted(series_of(shown).values()) == [-1.0] * 8


@pytest.mark.parametrize("value", ["%", "%r", "%%r", " %r", "100 %", "a\nb %s", "%(x)d", "ä %r\\n"])
def test_percent_signs_in_labels_stay_through_every_change(shown: Exposition, value: str) -> None:
    names = [value, f"{value}{value}", "plain"]
    for number, count in enumerate((2, 2, 3, 1)):
        shown.put(Batch(INTERFACE, [QUEUE.sample(number, name) for name in names[:count]], 0.0))
        key = "pollect_Interface_lan_queue"
        expected = {(key, (("nic", name),)): float(number) for name in names[:count]}
        assert series_of(shown) == expected


def test_a_series_with_a_percent_sign_that_another_source_has_is_left_out(
    shown: Exposition,
) -> None:
    other = INTERFACE._replace(instance=1)
    shown.put(Batch(INTERFACE, [QUEUE.sample(1, "50 %r")], 0.0))
    shown.put(Batch(other, [QUEUE.sample(2, "50 %r"), QUEUE.sample(3, "eth0")], 0.0))
    assert sorted(series_of(shown).values()) == [1.0, 3.0]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_many_series_keep_their_own_numbers(shown: Exposition, count: int) -> None:
    for shift in range(3):
        numbered = [QUEUE.sample(number + shift, str(number)) for number in range(count)]
        shown.put(Batch(INTERFACE, [*numbered, ERRORS.sample(7, "x")], 0.0))
        found = series_of(shown)
        assert len(found) == count + 1
        key = "pollect_Interface_lan_queue"
        assert all(found[key, (("nic", str(n)),)] == n + shift for n in range(count))


def test_of_many_sources_that_share_a_name_one_looks_at_its_own_series_only(
    monkeypatch, caplog
) -> None:
    exposition = Exposition(logging.getLogger("test"))
    metric = Metric("v", labels=("host",))

    def put(number: int, host: str) -> None:
        source = SourceId("net", "Ping", target=str(number))
        exposition.put(Batch(source, [metric.sample(number, host)], 0.0))

    for number in range(50):
        put(number, f"h{number}")
    looks: list[Layout] = []
    prefixes_of = Layout.prefixes_of

    def counted(self: Layout, names: Collection[str]) -> Iterable[str]:
        looks.append(self)
        return prefixes_of(self, names)

    monkeypatch.setattr(Layout, "prefixes_of", counted)
    put(50, "h50")
    put(7, "h51")
    assert len(looks) <= 5
    put(8, "h50")  # taken by another one
    assert 'net_Ping_v{host="h50"} is there already' in caplog.text
    put(50, "h52")  # which lets go of it
    put(8, "h50")
    text = b"".join(join_text(exposition.blocks())).decode()
    lines = {line for line in text.splitlines() if not line.startswith("#")}
    assert {f'net_Ping_v{{host="{host}"}} {number}.0'
            for host, number in (("h51", 7), ("h50", 8), ("h52", 50))} <= lines  # fmt: skip
    assert len(lines) == 51
