"""One inverter over one Modbus TCP connection, with the errors of pollect.

Function 3 through the library pymodbus, whose client reports everything in several ways: it returns
errors, raises its own, and lets those of the socket through.
"""

import logging
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from pollect.api import BadResponse, MissingDependency, TargetUnavailable
from pollect_sources_home.sma_pv_modbus.registers import (
    DEFAULT_UNIT,
    LOOK_UP_UNIT,
    UNIT_ID_ADDRESS,
    UNIT_ID_COUNT,
    unit_id_of,
)

#: A request that is not answered is sent once more.
RETRIES = 1
ILLEGAL_ADDRESS = 2
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure, or an unknown unit id",
    6: "busy",
    10: "no path to the unit id",
    11: "no answer from the unit id",
}


#: What a gateway says of the whole unit: the other registers would fare the same.
_OF_THE_UNIT = (10, 11)


class RefusedRegister(BadResponse):
    """The inverter refuses one register, for now."""


class UndefinedRegister(Exception):
    """The inverter has no such register."""


class Inverter:
    """Connects when it is needed; after any failure it starts over with the next request.

    `timeout_seconds` is for one answer; `begin` gives all requests from then on one limit.
    """

    def __init__(self, host: str, port: int, timeout_seconds: float, unit: int | None) -> None:
        try:
            from pymodbus.client import ModbusTcpClient
            from pymodbus.exceptions import ModbusException
        except ImportError as error:
            raise MissingDependency(
                "Modbus needs the library pymodbus: pip install 'pollect-sources-home[modbus]'",
                requirement="pollect-sources-home[modbus]",
            ) from error
        # What it logs is raised as well, and pollect logs that once.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._address = (host, port)
        self._timeout_seconds = timeout_seconds
        self._configured_unit = unit
        self._client: Any = ModbusTcpClient(
            host, port=port, timeout=timeout_seconds, retries=RETRIES
        )
        self._foreign_errors = (ModbusException, OSError)
        self._end = float("inf")
        #: Known while connected.
        self.unit: int | None = None

    def begin(self, limit_seconds: float) -> None:
        """Let the requests from now on share one limit."""
        # How long a peer takes is measured on the real clock.
        self._end = time.monotonic() + limit_seconds

    def connect(self) -> bool:
        """Connect and look the unit id up, unless that was done; return whether it was not."""
        if self.unit is not None:
            return False
        self.close()
        try:
            # The library would keep to itself why it failed.
            self._client.socket = socket.create_connection(self._address, self._timeout_seconds)
        except ConnectionRefusedError as error:
            raise TargetUnavailable(
                f"{self._where}: connection refused: is Modbus TCP switched on in the inverter?"
            ) from error
        except TimeoutError as error:
            raise TargetUnavailable(
                f"{self._where}: no connection within {self._timeout_seconds:g} s"
            ) from error
        except OSError as error:
            raise TargetUnavailable(f"{self._where}: {error.strerror or error}") from error
        self.unit = self._configured_unit or self._look_up_unit()
        return True

    def read(self, address: int, count: int) -> Sequence[int]:
        """Return `count` registers of 16 bits; needs a connection.

        Raises `UndefinedRegister`, `RefusedRegister`, or another `ProbeError` with the connection
        closed.
        """
        return self._read(address, count, self.unit or DEFAULT_UNIT)

    def close(self) -> None:
        """Close the connection; idempotent."""
        self.unit = None
        self._client.close()

    def _look_up_unit(self) -> int:
        try:
            found = unit_id_of(self._read(UNIT_ID_ADDRESS, UNIT_ID_COUNT, LOOK_UP_UNIT))
        except UndefinedRegister:
            found = None
        return found or DEFAULT_UNIT

    def _read(self, address: int, count: int, unit: int) -> Sequence[int]:
        what = f"{self._where}: register {address} of unit {unit}"
        if time.monotonic() >= self._end:
            self.close()
            raise TargetUnavailable(f"{what}: the answers before took too long")
        try:
            reply = self._client.read_holding_registers(address, count=count, device_id=unit)
        except self._foreign_errors as error:
            self.close()
            raise TargetUnavailable(f"{what}: {self._reason(error)}") from error
        except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
            self.close()
            raise BadResponse(f"{what}: expected Modbus: {error}") from error
        if reply.isError():
            code = getattr(reply, "exception_code", 0)
            if code == ILLEGAL_ADDRESS:
                raise UndefinedRegister(what)
            reason = f"refused with exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
            if code not in _OF_THE_UNIT:
                raise RefusedRegister(f"{what}: {reason}")
            self.close()
            raise BadResponse(f"{what}: {reason}")
        if len(reply.registers) != count:
            self.close()
            raise BadResponse(f"{what}: expected {count} registers, got {len(reply.registers)}")
        return tuple(reply.registers)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return error.strerror or str(error)
        return f"no valid answer within {self._timeout_seconds:g} s, asked {RETRIES + 1} times"
