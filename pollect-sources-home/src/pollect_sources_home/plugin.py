"""The sources of this distribution, one a line."""

from pollect.api import Location, Needs, Port, SourceSpec, Suggestion, hookimpl

#: Of the plugin API that this is written for.
api = 2

PACKAGE = "pollect_sources_home"

#: The sign-in is kept in the state folder, or where the config says.
_TOKEN = Needs(paths=(Location("", option="tokenFile", write=True, optional=True),))


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
            "EspHome",
            f"{PACKAGE}.esp_home.source:EspHomeSource",
            summary="Sensors of an ESPHome device, as it sends them",
            extra="esphome",
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
            needs=_TOKEN,
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
            "Pmcc",
            f"{PACKAGE}.pmcc.source:PmccSource",
            summary="Session of a Porsche Mobile Charger Connect",
            extra="pmcc",
        ),
        SourceSpec(
            "SmaEnergyMeter",
            f"{PACKAGE}.sma_energy_meter.source:SmaEnergyMeterSource",
            summary="SMA Energy Meter or Sunny Home Manager 2.0, by multicast",
            needs=Needs(ports=(Port("udp", 9522),), multicast=("239.12.255.254",)),
        ),
        SourceSpec(
            "SmaPvModbus",
            f"{PACKAGE}.sma_pv_modbus.source:SmaPvModbusSource",
            summary="Power, energy and voltages of an SMA inverter by Modbus TCP",
            extra="modbus",
        ),
        SourceSpec(
            "Viessmann",
            f"{PACKAGE}.viessmann.source:ViessmannSource",
            summary="Heat pumps, boilers, ventilation and batteries in the Viessmann cloud",
            needs=_TOKEN,
        ),
        SourceSpec(
            "ZodiacPool",
            f"{PACKAGE}.zodiac_pool.source:ZodiacPoolSource",
            summary="Cleaning robots of a pool in the Zodiac (iAqualink) cloud",
            needs=_TOKEN,
        ),
    ]


@hookimpl
def pollect_suggestions() -> list[Suggestion]:
    """Return what suits this host, for `pollect init`."""
    from pollect_sources_home.suggestions import suggest

    return list(suggest())
