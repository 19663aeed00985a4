"""The options of `Notify`."""

from typing import Annotated

from msgspec import Meta

from pollect.api import Seconds, Secret, WriterConfig
from pollect.support.alerts import DEFAULTS, Rule
from pollect_writers.notify.messages import DEFAULT_LINE, DEFAULT_TEXT, DEFAULT_TITLE


class NotifyConfig(WriterConfig, frozen=True, kw_only=True):
    to: Annotated[
        Annotated[tuple[Secret, ...], Meta(min_length=1)],
        Meta(
            description="Whom to tell: URLs as apprise knows them, `ntfy://host/topic`, "
            "`mailto://...`, `tgram://...`, `json://...` and a hundred more."
        ),
    ]
    rules: Annotated[
        tuple[Rule | str, ...] | str,
        Meta(
            description="What is worth a message; for one series or source the first that fits "
            "decides. `defaults`, instead of the list or in it, stands for what ships."
        ),
    ] = DEFAULTS
    wait: Annotated[
        Annotated[float, Meta(ge=0)],
        Meta(description="Seconds to wait for what begins or ends together, for one message."),
    ] = 5.0
    title: Annotated[
        str,
        Meta(
            description="Title of a message, with `{host}`, `{state}` (problem, still, over), "
            "`{count}` and `{subject}`."
        ),
    ] = DEFAULT_TITLE
    text: Annotated[str, Meta(description="Text of a message: as `title`, and `{lines}`.")] = (
        DEFAULT_TEXT
    )
    line: Annotated[
        str,
        Meta(
            description="Line of one alert: `{what}`, `{when}`, `{alert}`, `{summary}`, "
            "`{source}`, `{metric}`, `{labels}`, `{value}`, `{limit}`, `{since}`, `{lasted}`."
        ),
    ] = DEFAULT_LINE
    timeout: Annotated[Seconds, Meta(description="Seconds a target may take for one message.")] = (
        10.0
    )
