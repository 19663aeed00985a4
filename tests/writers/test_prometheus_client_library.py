"""prometheus-client is there for what the endpoint needs of it, and for nothing more."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from pollect.api import MissingDependency
from tests.writers.prometheus_scraper import build_prometheus

LIBRARY = "pollect_writers.prometheus.client_library"


def run_python(program: str, *path: Path) -> None:
    """Run a program in a process that has imported nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": ":".join([*map(str, path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def write_modules(folder: Path, modules: Mapping[str, str]) -> None:
    for name, text in modules.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


def test_an_endpoint_brings_no_servers_of_the_library_along() -> None:
    run_python(
        """
        import pathlib, sys
        from pollect.api import WriterContext
        from pollect.engine.clock import SystemClock
        from pollect_writers.prometheus.config import PrometheusConfig
        from pollect_writers.prometheus.server import Request
        from pollect_writers.prometheus.writer import PrometheusWriter

        here = pathlib.Path()
        context = WriterContext(name="P", clock=SystemClock(), config_dir=here, state_dir=here)
        context.ready.set()
        config = PrometheusConfig(type="Prometheus", port=0, bind="127.0.0.1")
        writer = PrometheusWriter(config, context)
        writer.open()
        for accept in ("", "application/openmetrics-text"):
            answer = writer._answer(Request("GET", "/metrics", {}, {"accept": accept}))
            assert b"process_resident_memory_bytes" in answer.body
        writer.close()
        heavy = {"prometheus_client", "http.server", "wsgiref", "ssl", "email"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


@pytest.mark.parametrize("ours_first", [True, False])
def test_whoever_imports_the_library_gets_all_of_it(ours_first: bool) -> None:
    imports = [f"import {LIBRARY} as parts", "import prometheus_client.openmetrics.parser"]
    run_python(
        "\n".join(imports if ours_first else reversed(imports))
        + """
import prometheus_client
from prometheus_client import *
from prometheus_client.registry import CollectorRegistry as its_own

assert prometheus_client.CollectorRegistry is its_own
assert prometheus_client.utils.floatToGoString(1.0) == "1.0"
assert prometheus_client.openmetrics.exposition.CONTENT_TYPE_LATEST == parts.CONTENT_TYPE_LATEST
Counter("mine", "Of somebody else.").inc()
shown = generate_latest().decode()
assert "mine_total 1.0" in shown and shown.count("# TYPE process_open_fds ") == 1, shown
"""
    )


def test_threads_that_import_at_once_do_not_get_into_each_others_way() -> None:
    run_python(
        f"""
        import importlib, sys, threading

        sys.setswitchinterval(1e-6)
        together, failed = threading.Barrier(4), []

        def load(module, name):
            together.wait()
            try:
                getattr(importlib.import_module(module), name)
            except Exception as error:
                failed.append(error)

        names = [("prometheus_client", "Counter"), ("{LIBRARY}", "GCCollector")]
        threads = [threading.Thread(target=load, args=names[n % 2]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        """
    )


def test_a_version_with_other_modules_is_imported_as_a_whole(tmp_path: Path) -> None:
    names = ("CollectorRegistry", "GCCollector", "Metric", "PlatformCollector", "ProcessCollector")
    write_modules(
        tmp_path / "prometheus_client",
        {
            "__init__.py": "from ._all import *",
            "_all.py": "".join(f"class {name}: pass\n" for name in names),
            "openmetrics/__init__.py": "",
            "openmetrics/exposition.py": "CONTENT_TYPE_LATEST = ''\ndef generate_latest(): ...\n",
        },
    )
    run_python(
        f"""
        import {LIBRARY} as parts, prometheus_client
        assert parts.GCCollector is prometheus_client.GCCollector
        assert "{tmp_path}" in prometheus_client.__file__
        """,
        tmp_path,
    )


def test_an_environment_without_the_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in list(sys.modules):
        if module.startswith((LIBRARY, "pollect_writers.prometheus.process")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependency, match="prometheus-client is not installed") as caught:
        build_prometheus().open()
    assert caught.value.requirement == "pollect-writers"
