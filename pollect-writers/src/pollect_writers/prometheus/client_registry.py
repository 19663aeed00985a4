"""What others in this process count with prometheus-client: its default registry.

Nothing here imports the library: a plugin or extension that uses it has done so.
"""

import logging
import sys
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from pollect_writers.prometheus.exposition import Block
from pollect_writers.prometheus.process import METRICS

if TYPE_CHECKING:
    from prometheus_client import Metric

_END_OF_OPEN_METRICS = b"# EOF\n"
#: The library registers collectors of its own for these, which `processMetrics` decides on.
_OWN = frozenset((metric.name or "").removesuffix("_total") for metric in METRICS)


class _Collected(NamedTuple):
    """What an encoder of the library takes in place of a registry."""

    family: "Metric"

    def collect(self) -> "Iterable[Metric]":
        return (self.family,)


class ClientRegistry:
    """The families of the default registry, as text."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._complained: set[str] = set()

    def render(
        self, blocks: Iterable[Block], names: Collection[str] = (), *, open_metrics: bool
    ) -> list[bytes]:
        """Return each family as text, without those that `blocks` have already.

        `names` restricts it to these metrics. Empty if nothing has imported the library.
        """
        library = sys.modules.get("prometheus_client")
        registry = getattr(library, "REGISTRY", None)  # None while it is being imported
        if registry is None:
            return []
        taken = {name for block in blocks for family, _ in block for name in family.names}
        encode = _encoder(open_metrics)
        parts: list[bytes] = []
        for family in self._collect(registry):
            shown = {family.name, *(sample.name for sample in family.samples)}
            if family.name in _OWN or (names and shown.isdisjoint(names)):
                continue
            if not shown.isdisjoint(taken):
                self._complain(family.name, "there is a metric of this name already")
                continue
            try:
                parts.append(encode(family))
            except Exception as error:  # noqa: BLE001 - what others put there may be anything
                self._complain(family.name, f"{type(error).__name__}: {error}")
        return parts

    def _collect(self, registry: object) -> "list[Metric]":
        found: list[Metric] = []
        try:
            for family in registry.collect():  # type: ignore[attr-defined]
                found.append(family)  # noqa: PERF402 - what came before an error is kept
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a collector is code of a plugin
            self._complain("a collector", f"{type(error).__name__}: {error}")
        return found

    def _complain(self, what: str, reason: str) -> None:
        if what not in self._complained:
            self._complained.add(what)
            self._log.warning(
                "%s in the default registry of prometheus-client is left out: %s", what, reason
            )


def _encoder(open_metrics: bool) -> "Callable[[Metric], bytes]":
    # The library is there; importing its parts costs nothing more.
    if open_metrics:
        from prometheus_client.openmetrics.exposition import generate_latest as encode_open

        def encode(family: "Metric") -> bytes:
            # The library has no types here.
            text: bytes = encode_open(_Collected(family))  # type: ignore[no-untyped-call]
            return text.removesuffix(_END_OF_OPEN_METRICS)

        return encode
    from prometheus_client.exposition import generate_latest as encode_text

    return lambda family: encode_text(_Collected(family))
