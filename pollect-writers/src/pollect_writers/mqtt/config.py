"""The options of `Mqtt`; `host` to `hassAutodiscovery` are those of pollect 1.x."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.api import Host, Secret, WriterConfig
from pollect.support.options import ClientTls


class MqttConfig(WriterConfig, frozen=True, kw_only=True):
    host: Annotated[Host, Meta(description="Host of the broker.")] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)],
        Meta(description="Port of the broker; 8883 is usual with TLS."),
    ] = 1883
    user: Annotated[str | None, Meta(description="User name.")] = None
    password: Annotated[Secret, Meta(description="Password of the user.")] = Secret("")
    include_pattern: Annotated[
        list[str],
        Meta(description="Regular expressions; write only topics that one of them matches whole."),
    ] = msgspec.field(default_factory=list)
    exclude_pattern: Annotated[
        list[str],
        Meta(description="Regular expressions; leave out topics that one of them matches whole."),
    ] = msgspec.field(default_factory=list)
    hass_autodiscovery: Annotated[
        bool, Meta(description="Announce every series to Home Assistant.")
    ] = False
    discovery_prefix: Annotated[
        str, Meta(description="Where Home Assistant looks for announcements.")
    ] = "homeassistant"
    client_id: Annotated[
        str | None,
        Meta(description="Name at the broker and in the status topic; default: host and number."),
    ] = None
    topic_prefix: Annotated[
        str, Meta(description="Goes before every topic, as it is: `home/` for example.")
    ] = ""
    qos: Annotated[
        Annotated[int, Meta(ge=0, le=2)], Meta(description="Quality of service of all messages.")
    ] = 0
    retain: Annotated[
        bool, Meta(description="Whether the broker keeps the latest values for those who come.")
    ] = True
    clear_stale: Annotated[
        bool, Meta(description="Take the retained value of a series back that no longer exists.")
    ] = True
    keepalive: Annotated[
        Annotated[int, Meta(ge=5, le=3600)],
        Meta(description="Seconds of silence after which the connection is checked."),
    ] = 30
    tls: Annotated[ClientTls | None, Meta(description="Connect with TLS.")] = None
