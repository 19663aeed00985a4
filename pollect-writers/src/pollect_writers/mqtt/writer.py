"""Writer `Mqtt`: the latest value of every series as a retained message.

Topics and payloads are those of pollect 1.x. A topic `pollect/<client id>/status` says whether this
pollect is there (by its last will, too), `pollect/<source>/status` whether a source is. Needs the
extra `mqtt` (paho-mqtt 2).
"""

import re
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from pollect.api import (
    Batch,
    ConfigError,
    Metric,
    MissingDependency,
    Sample,
    SourceId,
    Writer,
    WriterContext,
)
from pollect_writers import __version__
from pollect_writers.mqtt.config import MqttConfig
from pollect_writers.mqtt.discovery import Announcer
from pollect_writers.mqtt.session import OFFLINE, ONLINE, Session
from pollect_writers.mqtt.topics import MAX_TOPIC_BYTES, clean_topic, series_topic

_SeriesKey: TypeAlias = tuple[Metric, tuple[str, ...]]
_REQUIREMENT = "pollect-writers[mqtt]"


class MqttWriter(Writer[MqttConfig]):
    """Publishes every value; while the broker is away, the latest of each source waits."""

    config_type = MqttConfig
    accepts_partial = True
    latest_only = True
    self_metrics = False

    def __init__(self, config: MqttConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._include = _compile(config.include_pattern, "includePattern")
        self._exclude = _compile(config.exclude_pattern, "excludePattern")
        self._session: Session | None = None
        self._announcer: Announcer | None = None
        #: The topics each source has on the broker, with those of their announcements.
        self._series: dict[SourceId, dict[str, str]] = {}
        #: The topic of each series of the last batch, None if it is not to be published; made with
        #: these static labels.
        self._topics: dict[
            SourceId, tuple[tuple[tuple[str, str], ...], dict[_SeriesKey, str | None]]
        ] = {}
        #: Whose topic it is, and in whose words it is written.
        self._owners: dict[str, tuple[SourceId, _SeriesKey]] = {}

    def open(self) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingDependency(
                f"paho-mqtt is not installed; install {_REQUIREMENT!r}", requirement=_REQUIREMENT
            ) from error

        def new_client(client_id: str) -> Client:
            return Client(CallbackAPIVersion.VERSION2, client_id)

        config = self.config
        client_id = config.client_id or self._own_client_id()
        status_topic = clean_topic(f"{config.topic_prefix}pollect/{client_id}/status")
        self._series.clear()
        self._topics.clear()
        self._owners.clear()
        self._session = Session(
            config, client_id, status_topic, stopping=self.context.stopping, log=self.log
        )
        if config.hass_autodiscovery:
            self._announcer = Announcer(
                prefix=config.discovery_prefix,
                version=__version__,
                status_topic=status_topic,
                qos=config.qos,
            )
        self._session.put({status_topic: ONLINE})
        self._session.open(new_client, self.context.config_dir)

    def write(self, batches: Sequence[Batch]) -> None:
        session = self._session
        if session is None:
            raise RuntimeError("write() before open()")
        # Values that are still to be delivered must not reach the broker with those that were.
        session.wait_for_connection()
        changed: dict[str, bytes] = {}
        for batch in batches:
            changed |= self._update(session, batch)
        session.publish(changed)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _update(self, session: Session, batch: Batch) -> dict[str, bytes]:
        """Tell the session what a batch changes; return the topics to publish, values last."""
        source = batch.source
        own = source.dotted.lower()
        status_topic = clean_topic(f"{self.config.topic_prefix}pollect/{own}/status")
        before = self._series.get(source, {})
        if not batch.samples:
            return self._withdraw(session, source, status_topic)
        states: dict[str, bytes] = {}
        news: dict[str, bytes] = {}
        now: dict[str, str] = {}
        for sample, topic in self._with_topics(batch):
            states[topic] = str(sample.value).encode()
            now[topic] = before.get(topic, "")
            if self._announcer is not None and topic not in before:
                announcement = self._announcer.announce(
                    source,
                    sample.metric,
                    batch.labels_of(sample),
                    state_topic=topic,
                    source_status_topic=status_topic,
                )
                now[topic] = announcement.topic
                news[announcement.topic] = announcement.payload
        news[status_topic] = ONLINE
        news |= self._clear(session, {t: a for t, a in before.items() if t not in now})
        self._series[source] = now
        session.put(news)
        session.put(states, retain=self.config.retain)
        return news | states

    def _withdraw(self, session: Session, source: SourceId, status_topic: str) -> dict[str, bytes]:
        """A source has no values now, or is not in the config any more."""
        series = self._series.get(source, {})
        known = {status.source for status in self.context.sources()}
        if known and source not in known:
            self._series.pop(source, None)
            _, topics = self._topics.pop(source, ((), {}))
            self._disown(source, topics)
            news = {**self._clear(session, series), status_topic: b""}
        else:
            # Its announcements stay, and its values too, said to be out of date.
            session.forget(series)
            news = {status_topic: OFFLINE}
        session.put(news)
        return news

    def _clear(self, session: Session, series: Mapping[str, str]) -> dict[str, bytes]:
        """Return what takes `series` back, given as topics with those of their announcements."""
        session.forget(series)
        cleared = series if self.config.retain and self.config.clear_stale else ()
        announcements = filter(None, series.values())
        return dict.fromkeys((*announcements, *cleared), b"")

    def _with_topics(self, batch: Batch) -> Iterator[tuple[Sample, str]]:
        """Yield the samples to publish with their topics."""
        static, known = self._topics.get(batch.source, ((), {}))
        if static != batch.static_labels:
            self._disown(batch.source, known)
            known = {}
        now: dict[_SeriesKey, str | None] = {}
        for sample in batch.samples:
            key = (sample.metric, sample.label_values)
            if key in known:
                topic = now[key] = known[key]
            else:
                topic = now[key] = self._own(batch.source, key, self._topic(batch, sample))
            if topic is not None:
                yield sample, topic
        if known.keys() != now.keys():
            self._disown(batch.source, {k: t for k, t in known.items() if k not in now})
        self._topics[batch.source] = (batch.static_labels, now)

    def _own(self, source: SourceId, key: _SeriesKey, topic: str | None) -> str | None:
        """Return the topic for a series: another one where the topic belongs to another series.

        Topics are in lower case and without some characters, so that `Attic` and `attic` or `a+b`
        and `a_b` meet in one. The first keeps it, as in 1.x.
        """
        if topic is None:
            return None
        owner = self._owners.setdefault(topic, (source, key))
        if owner == (source, key):
            return topic
        mine = f"{topic}_{zlib.crc32(repr((source, key[0].name, key[1])).encode()):08x}"
        self._owners[mine] = (source, key)
        self.log.warning(
            "%s and %s have the same topic %s: the second one is published as %s",
            _words(*owner), _words(source, key), topic, mine,
        )  # fmt: skip
        return mine

    def _disown(self, source: SourceId, topics: Mapping[_SeriesKey, str | None]) -> None:
        for key, topic in topics.items():
            if topic is not None and self._owners.get(topic) == (source, key):
                del self._owners[topic]

    def _topic(self, batch: Batch, sample: Sample) -> str | None:
        """Return the topic of a series, None if it is not to be published."""
        topic = series_topic(batch.source, sample, batch.static_labels)
        if self._include and not any(pattern.fullmatch(topic) for pattern in self._include):
            return None
        if any(pattern.fullmatch(topic) for pattern in self._exclude):
            return None
        topic = self.config.topic_prefix + topic
        if len(topic.encode()) > MAX_TOPIC_BYTES:
            self.log.warning("left out, the topic is too long: %s...", topic[:80])
            return None
        return topic

    def _own_client_id(self) -> str:
        """Return an id that stays the same over restarts and differs between instances.

        Two clients with one id throw each other out in turns.
        """
        host = socket.gethostname().partition(".")[0][:32]
        sources = sorted(str(status.source) for status in self.context.sources())
        place = "\n".join([str(self.context.config_dir), self.context.name, *sources])
        return f"pollect-{host}-{zlib.crc32(place.encode()):08x}"


def _words(source: SourceId, key: _SeriesKey) -> str:
    metric, values = key
    pairs = zip(metric.labels, values, strict=True)
    labels = ", ".join(f"{name}={value!r}" for name, value in pairs)
    return f"{source} {metric.name or 'value'}" + (f" ({labels})" if labels else "")


def _compile(patterns: Sequence[str], key: str) -> list[re.Pattern[str]]:
    compiled = []
    for index, pattern in enumerate(patterns):
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:
            raise ConfigError(
                f"expected a regular expression: {error}", key=f"{key}[{index}]"
            ) from error
    return compiled
