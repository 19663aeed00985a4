"""Source `Dummy`: values from the config itself, to try a writer out or to put load on it."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, field

from pollect.api import Metric, NoData, ProbeError, Sample, Source, SourceConfig, SourceContext

VALUE = Metric(help="The value of the config.")
NUMBERED = Metric(help="The number of the series plus the number of the probe.", labels=("i",))


class DummyConfig(SourceConfig, frozen=True, kw_only=True):
    value: Annotated[int | float | None, Meta(description="A value without name and labels.")] = (
        None
    )
    values: Annotated[dict[str, int | float], Meta(description="Values by name.")] = field(
        default_factory=dict
    )
    count: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="This many series with the label `i`, growing by one at every probe."),
    ] = 0
    sleep: Annotated[
        Annotated[float, Meta(ge=0)], Meta(description="Seconds every probe takes.")
    ] = 0.0
    fail: Annotated[str, Meta(description="Every probe fails for this reason.")] = ""


class DummySource(Source[DummyConfig]):
    """Values from the config itself; costs what the config asks for."""

    config_type = DummyConfig
    metrics = (VALUE, NUMBERED)
    dynamic_metrics = True

    def __init__(self, config: DummyConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._constant = [
            Metric(name, help="A value of the config.").sample(value)
            for name, value in config.values.items()
        ]
        if config.value is not None:
            self._constant.append(VALUE.sample(config.value))
        self._numbers = [(str(number),) for number in range(config.count)]
        self._probes = 0

    def probe(self) -> Iterable[Sample]:
        if self.config.sleep:
            self.context.stopping.wait(self.config.sleep)
        if self.config.fail:
            raise ProbeError(self.config.fail)
        if not self._constant and not self._numbers:
            raise NoData("neither value, values nor count is set")
        self._probes += 1
        numbered = [
            Sample(NUMBERED, value, labels)
            for value, labels in enumerate(self._numbers, start=self._probes)
        ]
        return self._constant + numbered
