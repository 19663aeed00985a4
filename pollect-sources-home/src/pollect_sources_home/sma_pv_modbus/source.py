"""Source `SmaPvModbus`: an SMA photovoltaic or battery inverter by Modbus TCP.

One request for each value, nine per probe and some twenty more with `details`, over a connection
that is kept: inverters accept few.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    BadResponse,
    Host,
    Sample,
    Seconds,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect_sources_home.sma_pv_modbus.client import (
    RETRIES,
    Inverter,
    RefusedRegister,
    UndefinedRegister,
)
from pollect_sources_home.sma_pv_modbus.registers import (
    DETAILS,
    ENERGY,
    METRICS,
    REGISTERS,
    Register,
    decode,
    is_blank,
)

DEFAULT_PORT = 502
DEFAULT_TIMEOUT_SECONDS = 3.0
#: All answers of a probe together; the usual inverter needs less than one.
PROBE_SECONDS = 10.0
REPORT_SECONDS = 1.0
#: After so long a smaller total counts: the inverter was replaced.
TOTAL_SECONDS = 3600.0


class SmaPvModbusConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[Host, Meta(description="Name or address of the inverter.")]
    port: Annotated[int, Meta(description="Port of Modbus TCP.", ge=1, le=65535)] = DEFAULT_PORT
    unit_id: Annotated[
        Annotated[int, Meta(ge=1, le=247)] | None,
        Meta(description="Unit id of the inverter; default: what it says itself, usually 3."),
    ] = None
    timeout: Annotated[
        Seconds | None,
        Meta(description="Seconds to wait for one answer, before the request is sent once more."),
    ] = DEFAULT_TIMEOUT_SECONDS


class Total:
    """A total that never falls: a restarting inverter says 0 or something old for a while."""

    def __init__(self) -> None:
        self._highest: float | None = None
        self._below_since: float | None = None

    def accept(self, value: float, now: float) -> bool:
        """Tell whether to report `value`; `now` is in seconds."""
        if self._highest is not None and value < self._highest:
            if self._below_since is None:
                self._below_since = now
            if now - self._below_since < TOTAL_SECONDS:
                return False
        self._highest, self._below_since = value, None
        return True


class SmaPvModbusSource(Source[SmaPvModbusConfig]):
    """Power, energy, voltages and temperature of one inverter."""

    config_type = SmaPvModbusConfig
    target_option = "host"
    metrics = METRICS

    def __init__(self, config: SmaPvModbusConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._registers = (*REGISTERS, *DETAILS) if config.details else REGISTERS
        self._undefined: set[int] = set()
        self._energy = Total()
        self._inverter: Inverter | None = None

    def open(self) -> None:
        self.close()
        self._inverter = Inverter(
            self.config.host.strip(), self.config.port, self._timeout_seconds, self.config.unit_id
        )

    def probe(self) -> Iterable[Sample]:
        inverter = self._inverter
        if inverter is None:
            raise BadResponse("not open")
        inverter.begin(PROBE_SECONDS)
        if inverter.connect():
            # Another device, perhaps; or the same one, which knew little while it started.
            self._undefined.clear()
        refusals: list[RefusedRegister] = []
        found = list(self._read(inverter, refusals))
        unit = inverter.unit
        if refusals or not found:
            inverter.close()  # to start over with the next probe
        if refusals and not found:
            raise refusals[0]
        self.troubles.note("registers", [str(refusal) for refusal in refusals])
        if not found:
            raise BadResponse(
                f"{self.config.host}: unit {unit} has none of the registers of an SMA inverter; "
                "`unitId` names another"
            )
        return list(self._samples(found))

    def close(self) -> None:
        if self._inverter is not None:
            self._inverter.close()
            self._inverter = None

    def deadline_seconds(self) -> float:
        # The last request may begin at the end of that time; before all there is the connection.
        last = (RETRIES + 1) * self._timeout_seconds
        limit = PROBE_SECONDS + self._timeout_seconds + last + REPORT_SECONDS
        return max(self.context.interval, limit)

    def _read(
        self, inverter: Inverter, refusals: list[RefusedRegister]
    ) -> Iterator[tuple[Register, Sequence[int]]]:
        """Yield what can be read; a register that is refused costs itself."""
        contents: dict[int, Sequence[int]] = {}
        refused: set[int] = set()
        for register in self._registers:
            address = register.address
            if address in self._undefined or address in refused:
                continue
            try:
                if address not in contents:
                    contents[address] = inverter.read(address, register.count)
            except UndefinedRegister as error:
                self._undefined.add(address)
                self.log.debug("%s: not defined, left out for this connection", error)
                continue
            except RefusedRegister as error:
                refused.add(address)
                refusals.append(error)
                continue
            yield register, contents[address]

    def _samples(self, found: Sequence[tuple[Register, Sequence[int]]]) -> Iterator[Sample]:
        blank = is_blank(words for _, words in found)
        now = self.context.clock.monotonic()
        for register, words in found:
            value = None if blank else decode(register, words)
            if value is None:
                value = register.fallback
            if value is None:
                continue
            if register.metric is ENERGY and not self._energy.accept(value, now):
                self.log.debug("energy fell to %s Wh: left out until it is higher again", value)
                continue
            labels = (register.label,) if register.label else ()
            yield register.metric.sample(value, *labels)
