"""The section `fleet` at the top of a config: which part of its sources this daemon probes."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.plugin import Secret
from pollect.support.options import ClientTls


class ShardOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A fixed part of the sources, without an engine."""

    index: Annotated[
        str,
        Meta(
            description="Number of this daemon's shard, from 0, or a text that ends with it: "
            "the name of a StatefulSet's pod (`pollect-2`) will do."
        ),
    ]
    count: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Number of shards, the same on every daemon."),
    ]


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Several daemons with one config, each of which probes some of the sources."""

    shard: Annotated[
        ShardOptions | None, Meta(description="A fixed shard; or else name an `engine`.")
    ] = None
    engine: Annotated[
        str | None,
        Meta(description="etcd that decides who owns what: `etcd://10.0.0.5:2379,10.0.0.6:2379`."),
    ] = None
    name: Annotated[
        str | None,
        Meta(description="Name of this daemon, unique in the fleet; default: the host's name."),
    ] = None
    group: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$")],
        Meta(description="Name of the fleet; one engine serves several."),
    ] = "default"
    ttl: Annotated[
        str,
        Meta(
            description="How long after a crash others take over at the latest, plus a second; "
            "from 2s, such as 10s or 1m."
        ),
    ] = "10s"
    tls: Annotated[ClientTls | None, Meta(description="TLS to the engine.")] = None
    user: Annotated[str, Meta(description="User of the engine.")] = ""
    password: Annotated[Secret, Meta(description="Password of `user`.")] = Secret("")
