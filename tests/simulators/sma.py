"""SMA inverters by Modbus TCP: what their registers hold, and three servers for them.

`Inverter` is our own and can misbehave; the servers of the libraries pymodbus and pyModbusTCP owe
it nothing. Unit 1 knows the unit id of the inverter, which has its values under that one. A
register that is not there is exception 2, a unit that is not there exception 4.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pollect.testing.servers import TcpServer
from tests.simulators.daemons import free_port

#: Address -> 16 bits, for each unit.
Units = dict[int, dict[int, int]]

UNIT = 3
SERIAL, SUSY_ID = 1901234567, 348

S32_NAN, U32_NAN = -(1 << 31), (1 << 32) - 1
U64_NAN = (1 << 64) - 1
#: Registers that hold an unsigned number, and those of 64 bits.
WIDE = {30513, 30517, 30521, 30525}
DAY = {
    30953: 385, 30803: 5001, 30775: 2423, 30513: 14_762_629, 30771: 41_235, 30769: 5_876,
    30783: 23_041, 30785: 23_102, 30787: 22_998,
}  # fmt: skip
NIGHT = {
    30953: S32_NAN, 30803: U32_NAN, 30775: S32_NAN, 30513: U64_NAN, 30771: S32_NAN, 30769: S32_NAN,
    30783: U32_NAN, 30785: U32_NAN, 30787: U32_NAN,
}  # fmt: skip
DETAILS = {
    30201: 307, 30777: 808, 30779: 808, 30781: 807, 30517: 12_345, 30521: 86_400, 30525: 43_200,
    30977: 3_507, 30979: 3_508, 30981: -1, 30805: -12, 30813: 2_430, 30773: 2_500, 30957: 1_200,
    30959: 30_050, 30961: 360, 30225: 3_000_000, 31247: -15, 30845: 77, 30865: 0, 30867: 1_900,
}  # fmt: skip


def words(value: int, count: int) -> list[int]:
    """Return a number as registers, the high one first."""
    data = (value % (1 << 16 * count)).to_bytes(2 * count, "big")
    return list(struct.unpack(f">{count}H", data))


def image(values: Mapping[int, int], *, unit: int = UNIT) -> Units:
    """Return the registers of an inverter with these values by address."""
    held: dict[int, int] = {}
    for address, value in values.items():
        for offset, word in enumerate(words(value, 4 if address in WIDE else 2)):
            held[address + offset] = word
    look_up = [*words(SERIAL, 2), SUSY_ID, unit]
    return {unit: held, 1: {42109 + offset: word for offset, word in enumerate(look_up)}}


def by_day() -> Units:
    return image(DAY | DETAILS)


def answer(units: Units, unit: int, request: bytes) -> bytes:
    """Return what stands behind the unit id of a reply."""
    function, address, count = struct.unpack(">BHH", request[:5])
    if unit not in units:
        return bytes((function | 0x80, 4))
    if function not in (3, 4):
        return bytes((function | 0x80, 1))
    held = [units[unit].get(address + offset) for offset in range(count)]
    found = [word for word in held if word is not None]
    if len(found) != count:
        return bytes((function | 0x80, 2))
    return struct.pack(f">BB{count}H", function, 2 * count, *found)


class Inverter(TcpServer):
    """Serves `units`, which may change at any time; `fault` replaces what is sent."""

    def __init__(self, units: Units) -> None:
        super().__init__(self._serve_registers)
        self.units = units
        #: Sent instead of the reply; empty for silence, None to be well.
        self.fault: bytes | None = None
        #: Exceptions to answer with, by address.
        self.exceptions: dict[int, int] = {}
        #: Unit id and address of every request.
        self.requests: list[tuple[int, int]] = []

    def _serve_registers(self, connection: socket.socket) -> None:
        while header := connection.recv(7, socket.MSG_WAITALL):
            transaction, _, length, unit = struct.unpack(">HHHB", header)
            request = connection.recv(length - 1, socket.MSG_WAITALL)
            address = struct.unpack(">H", request[1:3])[0]
            self.requests.append((unit, address))
            if self.fault is not None:
                connection.sendall(self.fault)
                continue
            reply = answer(self.units, unit, request)
            if address in self.exceptions:
                reply = bytes((request[0] | 0x80, self.exceptions[address]))
            head = struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit)
            connection.sendall(head + reply)


@contextmanager
def served_by_pymodbus(units: Units) -> Iterator[int]:
    """Serve the registers as they are now with the server of pymodbus; gives its port."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    devices = [
        SimDevice(
            unit,
            [
                SimData(address, values=[word], datatype=DataType.REGISTERS)
                for address, word in sorted(held.items())
            ],
        )
        for unit, held in units.items()
    ]
    port, loop = free_port(), asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = ModbusTcpServer(devices, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        ready.set()
        await over.wait()
        await server.shutdown()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@contextmanager
def served_by_pymodbustcp(units: Units) -> Iterator[int]:
    """Serve the registers with the server of pyModbusTCP; gives its port."""
    from pyModbusTCP.server import DataBank, ModbusServer

    class Registers(DataBank):  # type: ignore[misc]
        def get_holding_registers(self, address, number=1, srv_info=None):
            unit = srv_info.recv_frame.mbap.unit_id
            held = [units.get(unit, {}).get(address + offset) for offset in range(number)]
            return None if None in held else held

    server = ModbusServer("127.0.0.1", free_port(), no_block=True, data_bank=Registers())
    server.start()
    try:
        yield server.port
    finally:
        with suppress(OSError):
            server.stop()
