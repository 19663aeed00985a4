from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pollect.api import BadResponse, Roots
from pollect.testing import build_source
from pollect_sources_system.memory_usage import MemoryUsageSource, used_bytes
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import Readings, agree_soon, read

#: Memory moves between two readings on a host that works.
DRIFT_BYTES = 64 * 2**20


def probe(roots: Roots | None = None, **section: object) -> Readings:
    source = build_source(section, MemoryUsageSource, roots=roots or Roots())
    source.open()
    return read(source)


def test_recorded_machine_has_its_memory(recorded_proc: Path) -> None:
    assert probe(Roots(proc=recorded_proc)) == {
        (None, "total"): 3831959552,
        # Its kernel had no MemAvailable yet, and zoneinfo was not recorded: free + cached file.
        (None, "available"): 1184112640,
        (None, "used"): 2579431424,
        (None, "cached"): 999075840,
    }


def test_details_add_the_finer_divisions(recorded_proc: Path) -> None:
    found = probe(Roots(proc=recorded_proc), details=True)
    assert found[None, "free"] == 230883328
    assert found[None, "buffers"] == 22568960
    assert {label for _, label in found} >= {"shared", "slab", "active", "inactive"}


def test_container_has_no_more_available_than_it_has(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal: 100 kB\nMemFree: 40 kB\nMemAvailable: 5000 kB\nBuffers: 0 kB\nCached: 20 kB\n"
    )
    found = probe(Roots(proc=tmp_path), details=True)
    assert found[None, "available"] == found[None, "free"] == 40 * 1024
    assert (None, "slab") not in found


def test_this_host_has_what_psutil_says() -> None:
    def look() -> dict[str, tuple[float, float]]:
        found, theirs = probe(details=True), psutil.virtual_memory()._asdict()
        return {
            str(label): (value, theirs[label])
            for (_, label), value in found.items()
            if label != "used"
        }

    assert look().keys() >= {"total", "available", "free", "slab", "active", "inactive"}
    agree_soon(look, DRIFT_BYTES)


@pytest.mark.parametrize("text", ["", "MemTotal: 100 kB\n", "<html>"])
def test_rubbish_is_a_bad_response(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text)
    with pytest.raises(BadResponse, match="expected MemTotal, MemFree, Buffers and Cached"):
        probe(Roots(proc=tmp_path))


def test_used_is_what_is_neither_free_nor_buffers_nor_cache() -> None:
    memory = SimpleNamespace(total=100, free=10, buffers=5, cached=25, used=77)
    assert used_bytes(memory) == 60


def test_used_is_never_negative() -> None:
    memory = SimpleNamespace(total=100, free=10, buffers=5, cached=95, used=77)
    assert used_bytes(memory) == 90


def test_used_is_the_systems_own_where_there_are_no_buffers() -> None:
    assert used_bytes(SimpleNamespace(total=100, free=10, used=77)) == 77


@pytest.mark.integration
def test_probe_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    def look() -> dict[str, tuple[float, float]]:
        found, scraped = probe(details=True), node_exporter.scrape()

        def theirs(field: str) -> float:
            return scraped[f"node_memory_{field}_bytes", frozenset()]

        cached = theirs("Cached") + theirs("SReclaimable")
        expected = {
            "total": theirs("MemTotal"),
            "available": theirs("MemAvailable"),
            "used": theirs("MemTotal") - theirs("MemFree") - theirs("Buffers") - cached,
            "cached": cached,
            "free": theirs("MemFree"),
            "buffers": theirs("Buffers"),
            "shared": theirs("Shmem"),
            "active": theirs("Active"),
            "inactive": theirs("Inactive"),
        }
        return {label: (found[None, label], value) for label, value in expected.items()}

    assert len({*look()["total"]}) == 1
    agree_soon(look, DRIFT_BYTES)
