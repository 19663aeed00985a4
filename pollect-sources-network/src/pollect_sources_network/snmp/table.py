"""Source `SnmpTable`: whole tables of an SNMP agent, rows labelled by other columns.

Walks columns with GETBULK (RFC 3416, section 4.2.3; GETNEXT with version 1), so that the ports of a
switch need not be counted in the config: a preset, or columns of one's own. One request brings 25
rows of one column. Needs the extra `snmp`, or net-snmp's programs with `backend: snmpget`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Kind,
    Metric,
    ProbeError,
    Sample,
    Source,
    SourceContext,
    TargetUnavailable,
)
from pollect_sources_network.snmp.agent import Agent, Answer
from pollect_sources_network.snmp.config import build_security, parse_address
from pollect_sources_network.snmp.connect import (
    REPORT_SECONDS,
    build_agent,
    check_backend,
    check_oid,
    translate_names,
)
from pollect_sources_network.snmp.conversion import (
    STATE_LABEL,
    build_reader,
    check_states,
    compile_pattern,
    part_of,
    state_samples,
)
from pollect_sources_network.snmp.details import RESPONSE, UPTIME, detail_samples
from pollect_sources_network.snmp.oids import SYS_UPTIME, index_of, normalize_oid
from pollect_sources_network.snmp.presets import PRESETS, LabelColumn, Table, ValueColumn
from pollect_sources_network.snmp.rates import Rates
from pollect_sources_network.snmp.table_config import ColumnEntry, SnmpTableConfig
from pollect_sources_network.snmp.values import Display, Value, display_of, number_of, text_of

#: The cells of a column by index.
Cells = Mapping[str, Value]


class SnmpTableSource(Source[SnmpTableConfig]):
    """Tables of one SNMP agent; one request per column and 25 rows."""

    config_type = SnmpTableConfig
    target_option = "host"
    metrics = (
        RESPONSE,
        UPTIME,
        *(
            column.metric
            for tables in PRESETS.values()
            for table in tables
            for column in table.columns
        ),
    )
    dynamic_metrics = True

    def __init__(self, config: SnmpTableConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._address = parse_address(config.host, config.port)
        self._security = build_security(config, self.log)
        check_backend(config, self._address, self._security)
        if (config.preset is None) == (not config.columns):
            raise ConfigError("expected either `preset` or `columns`", key="columns")
        self._keyed_oids: list[tuple[str, str]] = []
        self._tables = PRESETS[config.preset] if config.preset else (self._build_table(),)
        self._agent_oids = {
            label: self._checked(oid, f"agentLabels.{label}")
            for label, oid in config.agent_labels.items()
        }
        self._tables = tuple(map(self._with_agent_labels, self._tables))
        self._check_labels(config.only, "only")
        self._check_labels(config.label_patterns, "labelPatterns")
        self._check_labels(config.label_display, "labelDisplay")
        self._patterns = {
            label: compile_pattern(text, f"labelPatterns.{label}")
            for label, text in config.label_patterns.items()
        }
        self._rates = Rates()
        self._agent: Agent | None = None
        self._has_rates = any(column.is_rate for t in self._tables for column in t.columns)

    def expected_metrics(self) -> Sequence[Metric]:
        read = [column.metric for table in self._tables for column in table.columns]
        return [*read, RESPONSE, UPTIME] if self.config.details else read

    async def open(self) -> None:
        await self.close()
        numbers = await translate_names(self._keyed_oids, self.config.mib_dirs)
        if numbers:
            self._tables = tuple(_with_numbers(table, numbers) for table in self._tables)
            oids = self._agent_oids.items()
            self._agent_oids = {label: numbers.get(oid, oid) for label, oid in oids}
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
                answer = await self._ask_agent(agent)
                shared = tuple(
                    text_of(answer.values.get(oid), self._display(label, oid))
                    for label, oid in self._agent_oids.items()
                )
                for table in self._tables:
                    samples += await self._read_table(agent, table, shared)
        except TimeoutError as error:
            raise TargetUnavailable(f"{self._address}: no end after {limit:g} s") from error
        if not samples and not self._has_rates and not self.config.only:
            problem = next(iter(self.troubles.texts()), "the agent has none of the columns")
            raise BadResponse(f"{self._address}: {problem}")
        if self.config.details:
            samples += detail_samples(agent, answer)
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

        def column(number: int, entry: ColumnEntry) -> ValueColumn:
            key = f"columns[{number}]"
            is_rate = entry.mode == "rate"
            every_label = (*labels, *config.agent_labels)
            check_states(entry, key, every_label, is_one=entry.mode == "gauge")
            return ValueColumn(
                Metric(
                    entry.name,
                    help=f"{'Change per second of' if is_rate else 'Value of'} SNMP column "
                    f"{entry.oid}.",
                    kind=Kind.COUNTER if entry.mode == "counter" else Kind.GAUGE,
                    labels=labels,
                ),
                (self._checked(entry.oid, f"{key}.oid"),),
                scale=entry.scale,
                offset=entry.offset,
                is_rate=is_rate,
                counter_bits=entry.counter_bits,
                numbers=entry.map,
                read=build_reader(entry, key),
                states=entry.states,
                display=display_of(normalize_oid(entry.oid), entry.display),
            )

        return Table(
            config.index_label,
            tuple(
                LabelColumn(name, (self._checked(oid, f"rowLabels.{name}"),))
                for name, oid in config.row_labels.items()
            ),
            tuple(column(number, entry) for number, entry in enumerate(config.columns)),
        )

    def _checked(self, oid: str, key: str) -> str:
        normal = normalize_oid(oid)
        self._keyed_oids.append((key, check_oid(normal, key)))
        return normal

    def _with_agent_labels(self, table: Table) -> Table:
        """Return the table with the labels that its metrics have in the end."""
        shared = tuple(self._agent_oids)
        for label in shared:
            if label in table.label_names:
                raise ConfigError("the rows have this label already", key=f"agentLabels.{label}")
        return replace(
            table,
            columns=tuple(
                replace(column, metric=_with_labels(column.metric, shared, bool(column.states)))
                for column in table.columns
            ),
            shared_labels=shared,
        )

    def _check_labels(self, labels: Iterable[str], option: str) -> None:
        known = {label for table in self._tables for label in table.label_names}
        for label in labels:
            if label not in known:
                raise ConfigError(
                    f"the rows have no label {label!r}",
                    key=f"{option}.{label}",
                    hint=f"there are: {', '.join(sorted(known))}",
                )

    async def _ask_agent(self, agent: Agent) -> Answer:
        """Read what is asked of the agent as a whole, and take note of its uptime."""
        oids = list(self._agent_oids.values())
        if self._has_rates or self.config.details:
            oids.append(SYS_UPTIME)
        if not oids:
            return Answer()
        answer = await agent.get(oids)
        ticks = answer.values.get(SYS_UPTIME)
        if isinstance(ticks, int):
            self._rates.note_uptime(ticks, answer.time_of(SYS_UPTIME))
        return answer

    async def _read_table(
        self, agent: Agent, table: Table, shared: tuple[str, ...]
    ) -> list[Sample]:
        read: dict[str, Cells] = {}

        async def walked(oid: str) -> Cells:
            """Walk a column, each at most once."""
            if oid not in read:
                found = await self._walk(agent, oid)
                read[oid] = {index_of(cell, oid): value for cell, value in found.items()}
            return read[oid]

        async def cells_of(oids: Sequence[str]) -> Cells:
            """Return for every row the cell of the first column that has one.

            A port without a 64-bit counter still has the one of 32 bits.
            """
            cells: dict[str, Value] = {}
            for oid in oids:
                for index, value in (await walked(oid)).items():
                    if cells.get(index) is None:
                        cells[index] = value
                if cells and cells.keys() >= rows:
                    break
            return cells

        async def texts_of(column: LabelColumn) -> dict[str, str]:
            """Return for every row the first text that is not empty."""
            texts: dict[str, str] = {}
            for oid in column.oids:
                display = self._display(column.name, oid)
                for index, value in (await walked(oid)).items():
                    texts[index] = texts.get(index) or text_of(value, display)
                if texts and all(texts.values()):
                    break
            return texts

        #: The rows that are known to exist.
        rows: set[str] = set()
        label_texts = [await texts_of(column) for column in table.labels]
        rows.update(*label_texts)
        samples: list[Sample] = []
        kept: dict[str, tuple[str, ...] | None] = {}
        taken: set[tuple[str, ...]] = set()
        for column in table.columns:
            cells = await cells_of(column.oids)
            now = self.context.clock.monotonic()
            needed = [await cells_of((oid,)) for oid in column.needs] if cells else []
            unreadable: list[str] = []
            for index, value in cells.items():
                if index not in kept:
                    row = self._labels(table, label_texts, index, shared)
                    if row and row in taken:
                        # Two ports with one description: the index tells them apart.
                        row = (f"{row[0]}_{index}", *row[1:])
                    kept[index] = row
                    if row:
                        taken.add(row)
                labels = kept[index]
                if column.states:
                    if labels is not None:
                        samples += state_samples(
                            column.metric, column.states, value, labels, column.display
                        )
                    continue
                read_number = _read_number(column, value)
                if read_number is None:
                    if labels is not None and value not in (None, b""):
                        text = text_of(value, column.display)
                        unreadable.append(f"row {index}: expected a number, got {text!r:.60}")
                    continue
                number = self._number(column, index, read_number, needed, now)
                if labels is not None and number is not None:
                    samples.append(Sample(column.metric, number, labels))
            self.troubles.note(f"values of column {column.oids[0]}", unreadable)
        return samples

    async def _walk(self, agent: Agent, oid: str) -> Cells:
        """Walk a column; one that fails or does not end leaves the others alone.

        Raises `ProbeError` when it is the agent that fails.
        """
        try:
            rows = await agent.walk(oid)
        except AuthenticationFailed:
            raise
        except ProbeError as error:
            if SYS_UPTIME not in (await agent.get([SYS_UPTIME])).values:
                raise
            self.troubles.failed(f"column {oid}", error, type(error).__qualname__)
            return {}
        self.troubles.works(f"column {oid}")
        return rows

    def _display(self, label: str, oid: str) -> Display:
        return display_of(oid, self.config.label_display.get(label, "auto"))

    def _labels(
        self,
        table: Table,
        label_texts: Sequence[Mapping[str, str]],
        index: str,
        shared: tuple[str, ...],
    ) -> tuple[str, ...] | None:
        """Return the labels of a row; None for one that `only` leaves out."""
        labels = [index] if table.index_label else []
        for column, texts in zip(table.labels, label_texts, strict=True):
            text = texts.get(index, "")
            labels.append(column.words.get(text, text))
        row = (*labels, *shared)
        if self._patterns:
            row = tuple(map(part_of, row, map(self._patterns.get, table.label_names)))
        for name, text in zip(table.label_names, row, strict=True):
            patterns = self.config.only.get(name)
            if patterns is not None and not any(fnmatchcase(text, each) for each in patterns):
                return None
        return row

    def _number(
        self, column: ValueColumn, index: str, value: float, needed: Sequence[Cells], now: float
    ) -> float | None:
        number: float | None = value
        if column.compute is not None:
            number = column.compute(value, [number_of(cells.get(index)) for cells in needed])
        if number is not None and column.is_rate:
            key = f"{column.oids[0]}.{index}"
            number = self._rates.per_second(key, number, now, column.counter_bits)
        if number is None:
            return None
        if column.scale == 1:
            return number + column.offset
        # Tenths of a volt times 0.1 are no binary fraction; what no device measures is cut off.
        return round(number * column.scale, 9) + column.offset


def _read_number(column: ValueColumn, value: Value) -> float | None:
    """Return the number that a cell holds or, by the config, stands for; None if it has none."""
    number = column.numbers.get(text_of(value, column.display)) if column.numbers else None
    return column.read(value) if number is None else number


def _with_labels(metric: Metric, shared: tuple[str, ...], has_states: bool) -> Metric:
    more = (*shared, STATE_LABEL) if has_states else shared
    return metric.labelled(*more) if more else metric


def _with_numbers(table: Table, numbers: Mapping[str, str]) -> Table:
    def numeric(oids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(numbers.get(oid, oid) for oid in oids)

    return replace(
        table,
        labels=tuple(replace(column, oids=numeric(column.oids)) for column in table.labels),
        columns=tuple(replace(column, oids=numeric(column.oids)) for column in table.columns),
    )
