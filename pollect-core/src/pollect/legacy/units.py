"""`Unit`, `Ws` and `ValueWithUnit` of pollect 1.x."""

JOULES_PER_KWH = 3_600_000


class Unit:
    """A unit, its prefix, and the factor that leads to the unit without one."""

    def __init__(self, prefix: str, unit: str, factor: float) -> None:
        self._prefix = prefix
        self._base = unit
        self._factor = factor

    @staticmethod
    def base(unit: str) -> "Unit":
        return Unit("", unit, 1)

    @staticmethod
    def milli(unit: str) -> "Unit":
        return Unit("m", unit, 0.001)

    @staticmethod
    def hundredth(unit: str) -> "Unit":
        return Unit("t", unit, 0.01)  # 1.x gave hundredths and tenths one prefix

    @staticmethod
    def tenth(unit: str) -> "Unit":
        return Unit("t", unit, 0.1)

    def get_unit(self) -> str:
        """Return prefix and unit: `mW`."""
        return self._prefix + self._base

    def get_base(self) -> str:
        """Return the unit that `to_base` leads to."""
        return self._base

    def to_base(self, value: float) -> float:
        """Return `value` in the base unit."""
        return value * self._factor


class Ws(Unit):
    """Watt seconds, whose base is kilowatt hours."""

    def __init__(self) -> None:
        super().__init__("", "Ws", 1)

    def get_base(self) -> str:
        return "kWh"

    def to_base(self, value: float) -> float:
        return value / JOULES_PER_KWH


class ValueWithUnit:
    """A number and its unit."""

    def __init__(self, value: float, unit: Unit) -> None:
        self.value = value
        self.unit = unit

    def get_as_base_unit(self) -> float:
        """Return the number in the base unit."""
        return self.unit.to_base(self.value)

    def __str__(self) -> str:
        return f"{self.get_as_base_unit()} {self.unit.get_base()}"
