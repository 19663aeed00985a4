"""Source `SnmpTable`: whole tables of an SNMP agent, rows labelled by other columns.

Walks columns with GETBULK (RFC 3416, section 4.2.3; GETNEXT with version 1), so that the ports of a
switch need not be counted in the config: a preset, or columns of one's own. One request brings 25
rows of one column. Needs the extra `snmp`, or net-snmp's programs with `backend: snmpget`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta

from pollect.api import (
    BadResponse,
    ConfigError,
    Kind,
    Metric,
    Sample,
    Source,
    SourceContext,
    TargetUnavailable,
)
from pollect_sources_network.snmp.agent import Agent
from pollect_sources_network.snmp.config import (
    AgentConfig,
    Conversion,
    build_security,
    parse_address,
)
from pollect_sources_network.snmp.connect import (
    MAX_REPETITIONS,
    REPORT_SECONDS,
    build_agent,
    check_backend,
    check_oid,
    translate_names,
)
from pollect_sources_network.snmp.oids import SYS_UPTIME, index_of, normalize_oid
from pollect_sources_network.snmp.presets import PRESETS, LabelColumn, Table, ValueColumn
from pollect_sources_network.snmp.rates import Rates
from pollect_sources_network.snmp.values import Value, number_of, text_of

#: The cells of a column by index.
Cells = Mapping[str, Value]


class ColumnEntry(Conversion, frozen=True, kw_only=True):
    """One column of values."""

    name: Annotated[str, Meta(description="Name of the value.", min_length=1)]
    oid: Annotated[str, Meta(description="Column: `1.3.6...` or a MIB name, without an index.")]
    mode: Annotated[
        Literal["gauge", "counter", "rate"],
        Meta(description="What the cells are; `rate` for the change per second of a counter."),
    ] = "gauge"


class SnmpTableConfig(AgentConfig, frozen=True, kw_only=True):
    preset: Annotated[
        Literal["interfaces", "storage", "ups", "sensors"] | None,
        Meta(description="Tables that pollect knows."),
    ] = None
    columns: Annotated[
        tuple[ColumnEntry, ...], Meta(description="Columns of one table, in place of a preset.")
    ] = ()
    row_labels: Annotated[
        dict[str, str],
        Meta(description="Labels of a row and the columns they are read from, as in `ifName`."),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    index_label: Annotated[
        str, Meta(description="Label for the index of a row; empty for none.")
    ] = "index"
    only: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Keep only rows whose label matches one of these shell patterns, by label."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default
    max_repetitions: Annotated[int, Meta(ge=1, le=100, description="Rows asked for at once.")] = (
        MAX_REPETITIONS
    )


class SnmpTableSource(Source[SnmpTableConfig]):
    """Tables of one SNMP agent; one request per column and 25 rows."""

    config_type = SnmpTableConfig
    metrics = tuple(
        column.metric for tables in PRESETS.values() for table in tables for column in table.columns
    )
    dynamic_metrics = True

    def __init__(self, config: SnmpTableConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._address = parse_address(config.host, config.port)
        self._security = build_security(config, self.log)
        check_backend(config, self._address)
        if (config.preset is None) == (not config.columns):
            raise ConfigError("expected either `preset` or `columns`", key="columns")
        self._keyed_oids: list[tuple[str, str]] = []
        self._tables = PRESETS[config.preset] if config.preset else (self._build_table(),)
        self._check_only()
        self._rates = Rates()
        self._agent: Agent | None = None
        self._has_rates = any(column.is_rate for t in self._tables for column in t.columns)

    async def open(self) -> None:
        await self.close()
        numbers = await translate_names(self._keyed_oids, self.config.mib_dirs)
        if numbers:
            self._tables = tuple(_with_numbers(table, numbers) for table in self._tables)
        self._agent = build_agent(
            self.config,
            self._address,
            self._security,
            self.context,
            self.log,
            max_repetitions=self.config.max_repetitions,
        )

    async def probe(self) -> Iterable[Sample]:
        agent = self._agent
        if agent is None:
            raise TargetUnavailable(f"{self._address}: not open")
        limit = self.deadline_seconds() - REPORT_SECONDS
        samples: list[Sample] = []
        try:
            async with asyncio.timeout(limit):
                if self._has_rates:
                    await self._note_uptime(agent)
                for table in self._tables:
                    samples += await self._read_table(agent, table)
        except TimeoutError as error:
            raise TargetUnavailable(f"{self._address}: no end after {limit:g} s") from error
        if not samples and not self._has_rates and not self.config.only:
            raise BadResponse(f"{self._address}: the agent has none of the columns")
        return samples

    async def close(self) -> None:
        if self._agent is not None:
            await self._agent.close()
            self._agent = None

    def deadline_seconds(self) -> float:
        # `timeout` is the time for one answer.
        return max(self.context.interval, 10.0)

    def _build_table(self) -> Table:
        config = self.config
        index = (config.index_label,) if config.index_label else ()
        if config.index_label in config.row_labels:
            raise ConfigError(
                "is the label of the index already", key=f"rowLabels.{config.index_label}"
            )
        labels = (*index, *config.row_labels)

        def checked(oid: str, key: str) -> str:
            self._keyed_oids.append((key, check_oid(normalize_oid(oid), key)))
            return normalize_oid(oid)

        return Table(
            config.index_label,
            tuple(
                LabelColumn(name, (checked(oid, f"rowLabels.{name}"),))
                for name, oid in config.row_labels.items()
            ),
            tuple(
                ValueColumn(
                    Metric(
                        entry.name,
                        help=f"{'Change per second of' if entry.mode == 'rate' else 'Value of'} "
                        f"SNMP column {entry.oid}.",
                        kind=Kind.COUNTER if entry.mode == "counter" else Kind.GAUGE,
                        labels=labels,
                    ),
                    (checked(entry.oid, f"columns[{number}].oid"),),
                    scale=entry.scale,
                    offset=entry.offset,
                    is_rate=entry.mode == "rate",
                    counter_bits=entry.counter_bits,
                    numbers=entry.map,
                )
                for number, entry in enumerate(config.columns)
            ),
        )

    def _check_only(self) -> None:
        known = {label for table in self._tables for label in table.columns[0].metric.labels}
        for label in self.config.only.keys() - known:
            raise ConfigError(
                f"the rows have no label {label!r}",
                key=f"only.{label}",
                hint=f"there are: {', '.join(sorted(known))}",
            )

    async def _note_uptime(self, agent: Agent) -> None:
        answer = await agent.get([SYS_UPTIME])
        ticks = answer.values.get(SYS_UPTIME)
        if isinstance(ticks, int):
            self._rates.note_uptime(ticks, answer.time_of(SYS_UPTIME))

    async def _read_table(self, agent: Agent, table: Table) -> list[Sample]:
        read: dict[str, Cells] = {}

        async def walked(oid: str) -> Cells:
            """Walk a column, each at most once."""
            if oid not in read:
                rows = await agent.walk(oid)
                read[oid] = {index_of(cell, oid): value for cell, value in rows.items()}
            return read[oid]

        async def cells_of(oids: Sequence[str]) -> Cells:
            """Return the first of the columns that has cells."""
            for oid in oids:
                if cells := await walked(oid):
                    return cells
            return {}

        async def texts_of(oids: Sequence[str]) -> dict[str, str]:
            """Return for every row the first text that is not empty."""
            texts: dict[str, str] = {}
            for oid in oids:
                for index, value in (await walked(oid)).items():
                    texts[index] = texts.get(index) or text_of(value)
                if texts and all(texts.values()):
                    break
            return texts

        label_texts = [await texts_of(column.oids) for column in table.labels]
        samples: list[Sample] = []
        kept: dict[str, tuple[str, ...] | None] = {}
        for column in table.columns:
            cells = await cells_of(column.oids)
            now = self.context.clock.monotonic()
            needed = [await cells_of((oid,)) for oid in column.needs] if cells else []
            for index, value in cells.items():
                if index not in kept:
                    kept[index] = self._labels(table, label_texts, index)
                labels = kept[index]
                number = self._number(column, index, value, needed, now)
                if labels is not None and number is not None:
                    samples.append(Sample(column.metric, number, labels))
        return samples

    def _labels(
        self, table: Table, label_texts: Sequence[Mapping[str, str]], index: str
    ) -> tuple[str, ...] | None:
        """Return the labels of a row; None for one that `only` leaves out."""
        labels = [index] if table.index_label else []
        for column, texts in zip(table.labels, label_texts, strict=True):
            text = texts.get(index, "")
            labels.append(column.words.get(text, text))
        names = table.columns[0].metric.labels
        for name, text in zip(names, labels, strict=True):
            patterns = self.config.only.get(name)
            if patterns is not None and not any(fnmatchcase(text, each) for each in patterns):
                return None
        return tuple(labels)

    def _number(
        self, column: ValueColumn, index: str, value: Value, needed: Sequence[Cells], now: float
    ) -> float | None:
        number = column.numbers.get(text_of(value)) if column.numbers else None
        if number is None:
            number = number_of(value)
        if number is not None and column.compute is not None:
            number = column.compute(number, [number_of(cells.get(index)) for cells in needed])
        if number is not None and column.is_rate:
            key = f"{column.oids[0]}.{index}"
            number = self._rates.per_second(key, number, now, column.counter_bits)
        if number is None:
            return None
        if column.scale == 1:
            return number + column.offset
        # Tenths of a volt times 0.1 are no binary fraction; what no device measures is cut off.
        return round(number * column.scale, 9) + column.offset


def _with_numbers(table: Table, numbers: Mapping[str, str]) -> Table:
    def numeric(oids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(numbers.get(oid, oid) for oid in oids)

    return replace(
        table,
        labels=tuple(replace(column, oids=numeric(column.oids)) for column in table.labels),
        columns=tuple(replace(column, oids=numeric(column.oids)) for column in table.columns),
    )
