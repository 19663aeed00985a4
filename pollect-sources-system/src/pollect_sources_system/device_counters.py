"""What network cards and disks have in common: counters per device, their rates and totals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pollect.api import Headline, Kind, Metric, Panel, Sample
from pollect.support.distinct import shorten_apart
from pollect.support.filters import NameFilter
from pollect.support.rates import Rates


class Counter(NamedTuple):
    """One counter of the kernel and how it is reported."""

    #: Its field in the row of a device, named as psutil names it.
    field: str
    #: What it moves per second.
    rate: Metric
    #: The counter itself, reported on request.
    total: Metric


def declare_counter(
    label: str, field: str, rate: str, total: str, unit: str, what: str, *needs: str
) -> Counter:
    """Return the counter of psutil's `field`, its rate and total named and labelled by device.

    `needs`: options without which neither comes, see `Panel.needs`.
    """
    return Counter(
        field,
        Metric(
            rate,
            help=f"{what} per second.",
            unit=f"{unit}_per_second",
            labels=(label,),
            headline=Headline(what.removeprefix("Bytes ")) if unit == "bytes" else (),
            panel=Panel(needs=needs),
        ),
        Metric(
            total,
            help=f"{what}.",
            unit=unit,
            kind=Kind.COUNTER,
            labels=(label,),
            panel=Panel(needs=(*needs, "include_total")),
        ),
    )


class DeviceCounters:
    """The counters of all devices of one kind, from probe to probe."""

    def __init__(self, counters: Sequence[Counter], devices: NameFilter) -> None:
        self._counters = counters
        self._filter = devices
        self._rates: Rates[str] = Rates()

    def select(self, devices: Mapping[str, Any]) -> dict[str, Any]:
        """Return label -> fields of the devices that the config wants.

        Dots in a name become underscores, unless the result is the label of another device.
        """
        wanted = [name for name in devices if self._filter.accepts(name)]
        labels = shorten_apart(wanted, lambda name: name.replace(".", "_"))
        return {labels[name]: devices[name] for name in wanted}

    def samples(self, now: float, devices: Mapping[str, Any], *, totals: bool) -> list[Sample]:
        """Return the rates since the last call and, with `totals`, the counters themselves.

        `now` is monotonic seconds; `devices` comes from `select`.
        """
        samples: list[Sample] = []
        for label, fields in devices.items():
            values = [getattr(fields, counter.field) for counter in self._counters]
            rates = self._rates.update(label, now, values)
            if rates is not None:
                samples += [
                    counter.rate.sample(rate, label)
                    for counter, rate in zip(self._counters, rates, strict=True)
                ]
            if totals:
                samples += [
                    counter.total.sample(value, label)
                    for counter, value in zip(self._counters, values, strict=True)
                ]
        self._rates.keep(devices)
        return samples
