"""From series to topics, letter for letter as pollect 1.x named them."""

import re
from collections.abc import Sequence

from pollect.api import Sample, SourceId

MAX_TOPIC_BYTES = 65535
#: What a topic name may not hold (MQTT 3.1.1, section 4.7), a leading `$` which belongs to the
#: broker, and control and non-characters (section 1.5.3), for which brokers close the connection.
_NON_CHARACTERS = "".join(
    chr(plane * 0x10000 + end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
)
_FORBIDDEN = re.compile(f"[+#\0-\x1f\x7f-\x9f\ufdd0-\ufdef{_NON_CHARACTERS}]|^\\$")


def series_topic(
    source: SourceId, sample: Sample, static_labels: Sequence[tuple[str, str]] = ()
) -> str:
    """Return `collection.type[.name][/value name][/label/value]...` in lower case.

    The labels of the sample come first, in its order, then the static ones it does not have itself.
    """
    metric = sample.metric
    parts = [source.dotted]
    if metric.name is not None:
        parts.append(metric.name)
    for label, value in zip(metric.labels, sample.label_values, strict=True):
        parts += (label, value)
    for label, value in static_labels:
        if label not in metric.labels:
            parts += (label, value)
    return clean_topic("/".join(parts).lower())


def clean_topic(topic: str) -> str:
    """Return `topic` with an underscore for everything a topic name may not hold."""
    # Names of files and processes may hold bytes that are not UTF-8.
    return _FORBIDDEN.sub("_", topic.encode("utf-8", "replace").decode())
