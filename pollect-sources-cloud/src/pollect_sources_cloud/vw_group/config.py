"""The options of `MMI` and `VwGroup`."""

from typing import Annotated

from msgspec import Meta

from pollect.api import FilePath, Seconds, Secret, SourceConfig
from pollect_sources_cloud.limits import ANSWER_SECONDS

PORTAL = "https://eu-data-act.drivesomethinggreater.com"
IDENTITY = "https://identity.vwgroup.io"
#: The portal has nothing newer any sooner.
SHORTEST_INTERVAL_SECONDS = 900.0


class MmiConfig(SourceConfig, frozen=True, kw_only=True):
    user: Annotated[
        str | None, Meta(description="E-mail address of the account, as in the maker's app.")
    ] = None
    password: Annotated[Secret | None, Meta(description="Password of the account.")] = None
    credentials: Annotated[
        FilePath | None,
        Meta(description="JSON file with `user` and `pass`, as 1.x had it, instead of the two."),
    ] = None
    vin: Annotated[
        str | None,
        Meta(description="Vehicle identification number; may be left out if there is one car."),
    ] = None
    country: Annotated[
        str, Meta(pattern="^[A-Za-z]{2}$", description="Country of the account, two letters.")
    ] = "de"
    language: Annotated[
        str, Meta(pattern="^[A-Za-z]{2}$", description="Language of the account, two letters.")
    ] = "de"
    interval: Annotated[
        float,
        Meta(
            ge=SHORTEST_INTERVAL_SECONDS,
            description="Seconds between two looks for a new delivery.",
        ),
    ] = SHORTEST_INTERVAL_SECONDS
    token_file: Annotated[
        FilePath | None,
        Meta(description="Where the sign-in is kept; default: a file in the state folder."),
    ] = None
    portal: Annotated[str, Meta(description="Base URL of the portal.")] = PORTAL
    identity: Annotated[str, Meta(description="Base URL of the identity server.")] = IDENTITY
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        ANSWER_SECONDS
    )


class VwGroupConfig(MmiConfig, frozen=True, kw_only=True):
    brand: Annotated[
        str, Meta(description="Audi, Volkswagen, Skoda, SEAT or Cupra: whose account it is.")
    ]
