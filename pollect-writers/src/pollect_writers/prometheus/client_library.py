"""The parts of prometheus-client that the endpoint uses, imported without the rest.

The library imports its HTTP servers with its package, and those TLS, the mail parser and more:
14 MB that would stay resident in every daemon, against 0.1 MB for these parts. Its modules know
each other by relative names, so this module takes the library's folder for its own package path
and gets modules of its own, made of the same files. Nobody else sees them, whichever thread
imports what: `import prometheus_client` gives the complete library, before and after.
"""

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import (
        CollectorRegistry,
        GCCollector,
        Metric,
        PlatformCollector,
        ProcessCollector,
    )
    from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
else:
    _package = importlib.util.find_spec("prometheus_client")
    __path__ = list(_package.submodule_search_locations or ()) if _package else []
    try:
        from pollect_writers.prometheus.client_library.gc_collector import GCCollector
        from pollect_writers.prometheus.client_library.metrics_core import Metric
        from pollect_writers.prometheus.client_library.openmetrics.exposition import (
            CONTENT_TYPE_LATEST,
            generate_latest,
        )
        from pollect_writers.prometheus.client_library.platform_collector import PlatformCollector
        from pollect_writers.prometheus.client_library.process_collector import ProcessCollector
        from pollect_writers.prometheus.client_library.registry import CollectorRegistry
    except ImportError:  # it is not installed, or a later version has other modules
        from prometheus_client import (
            CollectorRegistry,
            GCCollector,
            Metric,
            PlatformCollector,
            ProcessCollector,
        )
        from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = [
    "CONTENT_TYPE_LATEST",
    "CollectorRegistry",
    "GCCollector",
    "Metric",
    "PlatformCollector",
    "ProcessCollector",
    "generate_latest",
]
