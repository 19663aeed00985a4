"""The sources of this distribution, one a line."""

from pollect.api import SourceSpec, hookimpl

PACKAGE = "pollect_sources_home"


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec(
            "AiOnTheEdge",
            f"{PACKAGE}.ai_on_the_edge.source:AiOnTheEdgeSource",
            summary="Reading, rate and errors of a meter with an AI-on-the-edge camera",
        ),
        SourceSpec(
            "Evcc",
            f"{PACKAGE}.evcc.source:EvccSource",
            summary="Power, energy and charging sessions of the charge controller evcc",
        ),
        SourceSpec(
            "HomematicIp",
            f"{PACKAGE}.homematic_ip.source:HomematicIpSource",
            summary="Temperature and humidity of the rooms of a Homematic IP home",
        ),
        SourceSpec(
            "Openhab",
            f"{PACKAGE}.openhab.source:OpenhabSource",
            summary="State of the items of an openHAB server",
        ),
        SourceSpec(
            "Plex",
            f"{PACKAGE}.plex.source:PlexSource",
            summary="Running streams and libraries of a Plex Media Server",
        ),
        SourceSpec(
            "Viessmann",
            f"{PACKAGE}.viessmann.source:ViessmannSource",
            summary="Heat pumps, boilers, ventilation and batteries in the Viessmann cloud",
        ),
        SourceSpec(
            "ZodiacPool",
            f"{PACKAGE}.zodiac_pool.source:ZodiacPoolSource",
            summary="Cleaning robots of a pool in the Zodiac (iAqualink) cloud",
        ),
    ]
