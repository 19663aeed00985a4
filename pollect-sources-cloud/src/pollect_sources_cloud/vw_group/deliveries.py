"""What the newest deliveries said, kept on disk, so that a restart asks for nothing sooner."""

import logging
from collections.abc import Collection
from pathlib import Path

import msgspec

from pollect.support.private_files import read_private, write_private


class Car(msgspec.Struct, frozen=True):
    """The last measurement of a car."""

    #: Name of the delivery that was read last.
    delivery: str
    values: dict[str, float]
    #: Unix time in seconds of the newest value, None if it is not known.
    time: float | None = None


class _File(msgspec.Struct, frozen=True):
    #: Unix time in seconds of the last look.
    asked: float = 0.0
    cars: dict[str, Car] = msgspec.field(default_factory=dict)


class Deliveries:
    """The last measurement of every car, by VIN, and when the portal was asked last."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.cars: dict[str, Car] = {}

    def read(self) -> float:
        """Read the file; return the Unix time of the last look, 0 if there was none."""
        try:
            found = msgspec.json.decode(read_private(self._file), type=_File)
        except (OSError, msgspec.DecodeError):
            return 0.0
        self.cars = dict(found.cars)
        return found.asked

    def write(self, now: float, vins: Collection[str], log: logging.Logger) -> None:
        """Keep the cars that still exist; a file that cannot be written is logged at debug."""
        self.cars = {vin: car for vin, car in self.cars.items() if vin in vins}
        content = msgspec.json.encode(_File(now, self.cars))
        try:
            write_private(self._file, content)
        except OSError as error:
            log.debug("cannot write %s: %s", self._file, error.strerror or error)
