"""Which meters are heard, and what they measured since the last probe."""

from collections import Counter
from dataclasses import dataclass, field

from pollect_sources_home.sma_energy_meter.payload import Foreign, Quantity, Reading

#: More meters than a network has; a flood of made-up serial numbers is not remembered.
_REMEMBERED = 16


@dataclass(slots=True)
class Meter:
    """What one meter measured since the last probe."""

    susyid: int
    serial: int
    #: It may send the same measurements in two kinds of datagrams: only the first kind counts.
    protocol: int
    version: str = ""
    #: Quantity -> sum and count of the averages, or the last number of a counter and 1.
    numbers: dict[Quantity, tuple[int, int]] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        """Take the numbers of a datagram into account."""
        self.version = reading.version or self.version
        numbers = self.numbers
        for quantity, number in reading.numbers:
            if quantity.is_counter or quantity not in numbers:
                numbers[quantity] = number, 1
            else:
                total, count = numbers[quantity]
                numbers[quantity] = total + number, count + 1

    def take(self) -> dict[Quantity, float]:
        """Return the means and counters since the last call, in units of the source."""
        numbers, self.numbers = self.numbers, {}
        return {
            quantity: total / count / quantity.divisor
            for quantity, (total, count) in numbers.items()
        }


class Meters:
    """All that is heard on the port. `wanted`: serial numbers; empty for the first meter heard."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self._wanted = wanted
        self.forget()

    def forget(self) -> None:
        """Start over, with whatever is heard first."""
        self.chosen: dict[int, Meter] = {}
        #: Serial numbers of meters that are heard and not chosen.
        self.others: set[int] = set()
        self._foreign: Counter[Foreign | None] = Counter()
        self._broken = ""

    def hear_broken(self, reason: str) -> None:
        """Take measurements that cannot be read into account."""
        self._broken = reason
        self._foreign[None] += 1

    def hear(self, heard: Reading | Foreign) -> bool:
        """Take one datagram into account; returns whether it counts."""
        if not isinstance(heard, Reading):
            self._foreign[heard] += 1
            return False
        meter = self.chosen.get(heard.serial)
        if meter is None:
            if heard.serial not in self._wanted if self._wanted else self.chosen:
                if len(self.others) < _REMEMBERED:
                    self.others.add(heard.serial)
                return False
            meter = Meter(heard.susyid, heard.serial, heard.protocol)
            self.chosen[heard.serial] = meter
        if meter.protocol != heard.protocol:
            return False
        meter.add(heard)
        return True

    def describe_silence(self) -> str:
        """Return what was heard instead of measurements, and what to do about it."""
        if self.others and not self.chosen:
            heard = ", ".join(map(str, sorted(self.others)))
            return f"none of the meters of `serial` is heard, only {heard}"
        if self.chosen:
            return "no measurements since the last probe"
        if self._foreign[Foreign.DISCOVERY]:
            return (
                "only discovery seen and no measurements: add this host to the receivers of the "
                "meter in the portal, or remove the fixed addresses there"
            )
        if broken := self._foreign[None]:
            return f"no measurements, but {broken} broken datagrams of a meter: {self._broken}"
        if count := self._foreign.total():
            return f"no measurements among {count} datagrams: is another device on this port?"
        return "no meter is heard: is it in the same network, and does multicast reach this host?"
