"""Source `SnmpGet`: objects of one SNMP agent, raw or as change per second.

SNMP versions 1, 2c and 3 (RFC 1157, RFC 3416, RFC 3414 and RFC 7860) over UDP; one GET for up to
100 objects, of which those that do not exist are named once. Needs the extra `snmp` (gufo-snmp), or
the programs of the Debian package `snmp` with `backend: snmpget`.
"""

import asyncio
import re
from collections.abc import (
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from itertools import groupby, repeat
from operator import attrgetter

from pollect.api import (
    BadResponse,
    ConfigError,
    Metric,
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
    fill_placeholder,
    translate_names,
)
from pollect_sources_network.snmp.conversion import (
    STATE_LABEL,
    Reader,
    build_reader,
    check_states,
    compile_pattern,
    part_of,
    state_samples,
)
from pollect_sources_network.snmp.details import RESPONSE, UPTIME, detail_samples
from pollect_sources_network.snmp.get_config import MetricEntry, SnmpGetConfig
from pollect_sources_network.snmp.oids import SYS_UPTIME, is_name, normalize_oid
from pollect_sources_network.snmp.rates import TICKS_PER_SECOND, Rates
from pollect_sources_network.snmp.values import Display, Value, display_of, number_of, text_of

#: More objects than any device has ports; a slip of the pen in a range is caught.
MAX_RANGE = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the readings of one entry have in common."""

    entry: MetricEntry
    metric: Metric
    read: Reader
    #: How octets look to `map` and `states`.
    display: Display
    #: By label, for those of the entry of which only a part is kept; empty if there are none.
    label_patterns: tuple[re.Pattern[str] | None, ...]
    #: Neither scaled nor mapped nor a rate nor a sum: the common case, taken without detours.
    is_plain: bool


@dataclass(slots=True)
class Reading:
    """One series of the config."""

    plan: Plan
    oids: tuple[str, ...]
    label_oids: tuple[str, ...]
    #: How the values of `label_oids` are shown.
    label_displays: tuple[Display, ...]
    range_label: tuple[str, ...]
    #: What the rates of `oids` are remembered under.
    rate_keys: tuple[str, ...]


@dataclass(slots=True)
class PlainReadings:
    """Consecutive series of one entry, taken as they are: ready to become samples."""

    metric: Metric
    oids: list[str]
    labels: list[tuple[str, ...]]


class SnmpGetSource(Source[SnmpGetConfig]):
    """Values of one SNMP agent; one request per 100 objects."""

    config_type = SnmpGetConfig
    target_option = "host"
    metrics = (RESPONSE, UPTIME)
    dynamic_metrics = True

    def __init__(self, config: SnmpGetConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._address = parse_address(config.host, config.port)
        self._security = build_security(config, self.log)
        check_backend(config, self._address, self._security)
        self._shows_details = config.details or not config.metrics
        self._keyed_names: list[tuple[str, str]] = []
        self._readings = self._build_readings()
        self._prepared: list[Reading | PlainReadings] = []
        self._oids: list[str] = []
        self._rates = Rates()
        self._agent: Agent | None = None

    def expected_metrics(self) -> Sequence[Metric]:
        read = [reading.plan.metric for reading in self._readings]
        return [*read, RESPONSE, UPTIME] if self._shows_details else read

    async def open(self) -> None:
        await self.close()
        self._use_numbers(await translate_names(self._keyed_names, self.config.mib_dirs))
        wanted = [oid for reading in self._readings for oid in (*reading.oids, *reading.label_oids)]
        has_rates = any(reading.plan.entry.mode == "rate" for reading in self._readings)
        if self._shows_details or (has_rates and self.config.reboot_check):
            wanted.insert(0, SYS_UPTIME)
        self._oids = list(dict.fromkeys(wanted))
        self._prepared = _prepared(self._readings)
        self._agent = build_agent(
            self.config, self._address, self._security, self.context, self.log
        )

    async def probe(self) -> Iterable[Sample]:
        agent = self._agent
        if agent is None:
            raise TargetUnavailable(f"{self._address}: not open")
        limit = self.deadline_seconds() - REPORT_SECONDS
        try:
            async with asyncio.timeout(limit):
                answer = await agent.get(self._oids)
        except TimeoutError as error:
            raise TargetUnavailable(f"{self._address}: no end after {limit:g} s") from error
        if not self._has_value(answer):
            raise BadResponse(f"{self._address}: none of the {len(self._oids)} OIDs has a value")
        self._note_uptime(agent, answer)
        samples = self._samples(answer)
        if self._shows_details:
            samples += detail_samples(agent, answer)
        return samples

    async def close(self) -> None:
        if self._agent is not None:
            await self._agent.close()
            self._agent = None

    def deadline_seconds(self) -> float:
        # `timeout` is the time for one answer, as it always was for this source's programs.
        return max(self.context.interval, 10.0)

    def _build_readings(self) -> list[Reading]:
        readings = []
        for number, entry in enumerate(self.config.metrics):
            key = f"metrics[{number}]"
            if bool(entry.oid) == bool(entry.oids):
                raise ConfigError("expected either `oid` or `oids`", key=f"{key}.oid")
            if entry.range is not None and entry.range.label in entry.oid_labels:
                raise ConfigError(
                    f"label {entry.range.label!r} is the range's already", key=f"{key}.oidLabels"
                )
            plan = self._build_plan(entry, key)
            if entry.range is None:
                readings.append(self._build_reading(plan, key, None))
                continue
            if entry.range.to - entry.range.from_ >= MAX_RANGE:
                raise ConfigError(f"expected at most {MAX_RANGE} numbers", key=f"{key}.range.to")
            numbers = range(entry.range.from_, entry.range.to + 1)
            readings += [self._build_reading(plan, key, value) for value in numbers]
        return readings

    def _build_plan(self, entry: MetricEntry, key: str) -> Plan:
        labels = (*([entry.range.label] if entry.range else ()), *entry.oid_labels)
        is_one = bool(entry.oid) and entry.mode != "rate"
        check_states(entry, key, labels, is_one=is_one)
        read = build_reader(entry, key)
        return Plan(
            entry=entry,
            metric=Metric(
                entry.name,
                help=f"{'Change per second of' if entry.mode == 'rate' else 'Value of'} SNMP "
                f"object {' + '.join(entry.oids or (entry.oid,))}.",
                labels=(*labels, STATE_LABEL) if entry.states else labels,
            ),
            read=read,
            display=display_of(normalize_oid((entry.oids or (entry.oid,))[0]), entry.display),
            label_patterns=self._label_patterns(entry, key),
            is_plain=is_one
            and read is number_of
            and not entry.states
            and not entry.map
            and entry.scale == 1
            and entry.offset == 0,
        )

    def _build_reading(self, plan: Plan, key: str, number: int | None) -> Reading:
        entry = plan.entry
        filling = {} if entry.range is None or number is None else {entry.range.label: number}

        def checked(oid: str, where: str) -> str:
            filled = check_oid(fill_placeholder(normalize_oid(oid), filling), where)
            if is_name(filled):
                self._keyed_names.append((where, filled))
            return filled

        oids = tuple(checked(oid, f"{key}.oid") for oid in entry.oids or (entry.oid,))
        labels = entry.oid_labels.items()
        is_rate = entry.mode == "rate"
        return Reading(
            plan=plan,
            oids=oids,
            label_oids=tuple(checked(oid, f"{key}.oidLabels.{name}") for name, oid in labels),
            label_displays=tuple(entry.label_display.get(name, "auto") for name, _ in labels),
            range_label=() if number is None else (str(number),),
            rate_keys=tuple(f"{key}.{number} {oid}" for oid in oids) if is_rate else oids,
        )

    def _label_patterns(self, entry: MetricEntry, key: str) -> tuple[re.Pattern[str] | None, ...]:
        patterns = entry.label_patterns
        options: dict[str, Mapping[str, str]] = {
            "labelPatterns": patterns,
            "labelDisplay": dict(entry.label_display),
        }
        for option, by_label in options.items():
            for label in by_label.keys() - entry.oid_labels.keys():
                raise ConfigError(
                    f"{label!r} is not one of the `oidLabels`", key=f"{key}.{option}.{label}"
                )
        if not patterns:
            return ()
        return tuple(
            compile_pattern(patterns[label], f"{key}.labelPatterns.{label}")
            if label in patterns
            else None
            for label in entry.oid_labels
        )

    def _use_numbers(self, numbers: Mapping[str, str]) -> None:
        for reading in self._readings:
            reading.oids = tuple(numbers.get(oid, oid) for oid in reading.oids)
            reading.label_oids = tuple(numbers.get(oid, oid) for oid in reading.label_oids)
            pairs = zip(reading.label_oids, reading.label_displays, strict=True)
            reading.label_displays = tuple(display_of(oid, display) for oid, display in pairs)

    def _note_uptime(self, agent: Agent, answer: Answer) -> None:
        ticks = answer.values.get(SYS_UPTIME)
        if not isinstance(ticks, int):
            return
        if self._rates.note_uptime(ticks, answer.time_of(SYS_UPTIME)):
            agent.forget_missing()
            self.log.info("the device was restarted %.0f s ago", ticks / TICKS_PER_SECOND)

    def _has_value(self, answer: Answer) -> bool:
        """Whether any object that is reported has a value; without any, the uptime counts."""
        if not self._readings:
            return bool(answer.values)
        return any(oid in answer.values for reading in self._readings for oid in reading.oids)

    def _samples(self, answer: Answer) -> list[Sample]:
        samples: list[Sample] = []
        values = answer.values
        for reading in self._prepared:
            if isinstance(reading, PlainReadings):
                samples += self._plain_samples(reading, values)
            elif reading.plan.entry.states:
                value = values.get(reading.oids[0])
                if value is not None:
                    plan, labels = reading.plan, self._labels(reading, answer)
                    samples += state_samples(
                        plan.metric, plan.entry.states, value, labels, plan.display
                    )
            elif (number := self._computed(reading, answer)) is not None:
                samples.append(Sample(reading.plan.metric, number, self._labels(reading, answer)))
        return samples

    def _plain_samples(
        self, readings: PlainReadings, values: Mapping[str, Value]
    ) -> Iterable[Sample]:
        metric, labels = readings.metric, readings.labels
        found = list(map(values.get, readings.oids))
        if set(map(type, found)) == {int} and not self.troubles:
            # Nearly always, and done in C.
            return map(Sample._make, zip(repeat(metric), found, labels, repeat(None)))
        numbers = (
            self._number(*pair, number_of) for pair in zip(readings.oids, found, strict=True)
        )
        pairs = zip(numbers, labels, strict=True)
        return [Sample(metric, number, texts) for number, texts in pairs if number is not None]

    def _labels(self, reading: Reading, answer: Answer) -> tuple[str, ...]:
        values = answer.values
        labels = tuple(
            text_of(values.get(oid), display)
            for oid, display in zip(reading.label_oids, reading.label_displays, strict=True)
        )
        if reading.plan.label_patterns:
            labels = tuple(map(part_of, labels, reading.plan.label_patterns))
        return reading.range_label + labels

    def _computed(self, reading: Reading, answer: Answer) -> float | None:
        """Return the mapped, summed, scaled value or rate; None if a part of it is missing."""
        if reading.plan.is_plain:
            oid = reading.oids[0]
            return self._number(oid, answer.values.get(oid), number_of)
        entry = reading.plan.entry
        total = 0.0
        complete = True
        for oid, key in zip(reading.oids, reading.rate_keys, strict=True):
            number = self._mapped(oid, answer.values.get(oid), reading)
            if number is not None and entry.mode == "rate":
                now = answer.time_of(oid)
                number = self._rates.per_second(key, number, now, entry.counter_bits)
            if number is None:
                complete = False
            else:
                total += number
        if not complete:
            return None
        if entry.mode == "rate":
            return total * entry.scale
        return total * entry.scale + entry.offset

    def _mapped(self, oid: str, value: Value, reading: Reading) -> float | None:
        numbers = reading.plan.entry.map
        if numbers and value is not None:
            number = numbers.get(text_of(value, reading.plan.display))
            if number is not None:
                return number
        return self._number(oid, value, reading.plan.read)

    def _number(self, oid: str, value: Value, read: Reader) -> float | None:
        number = read(value)
        if number is not None:
            self.troubles.works(oid)
        elif value is not None:
            self.troubles.failed(oid, f"expected a number, got {text_of(value)[:80]!r}")
        return number


def _prepared(readings: Iterable[Reading]) -> list[Reading | PlainReadings]:
    """Return the readings in their order, plain ones of one entry together."""
    prepared: list[Reading | PlainReadings] = []
    for plan, of_plan in groupby(readings, attrgetter("plan")):
        if plan.is_plain and not plan.entry.oid_labels:
            plain = list(of_plan)
            oids = [reading.oids[0] for reading in plain]
            labels = [reading.range_label for reading in plain]
            prepared.append(PlainReadings(plan.metric, oids, labels))
        else:
            prepared += of_plan
    return prepared
