"""Object identifiers: dotted numbers out of everything a config may write.

The table holds the objects people ask for most, since Debian does not ship the files of the
standard MIBs: SNMPv2-MIB (RFC 3418), IF-MIB (RFC 2863), RMON-MIB (RFC 2819), HOST-RESOURCES-MIB
(RFC 2790), UPS-MIB (RFC 1628), ENTITY-MIB (RFC 6933), ENTITY-SENSOR-MIB (RFC 3433), Printer-MIB
(RFC 3805) and UCD-SNMP-MIB (net-snmp). Other names are for `snmptranslate`.
"""

import re

SYS_UPTIME = "1.3.6.1.2.1.1.3.0"

_MIB_2 = "1.3.6.1.2.1"
_IF_ENTRY = f"{_MIB_2}.2.2.1"
_IF_X_ENTRY = f"{_MIB_2}.31.1.1.1"
_ETHER_STATS = f"{_MIB_2}.16.1.1.1"
_HOST = f"{_MIB_2}.25"
_UPS = f"{_MIB_2}.33.1"
_ENTITY = f"{_MIB_2}.47.1.1.1.1"
_SENSOR = f"{_MIB_2}.99.1.1.1"
_PRINTER = f"{_MIB_2}.43"
_UCD = "1.3.6.1.4.1.2021"


def _columns(prefix: str, names: str, first: int = 1) -> dict[str, str]:
    """Number the names from `first`; a dash stands for a number that is left out."""
    numbered = enumerate(names.split(), start=first)
    return {name: f"{prefix}.{number}" for number, name in numbered if name != "-"}


OBJECTS: dict[str, str] = {
    "iso": "1",
    "internet": "1.3.6.1",
    "mib-2": _MIB_2,
    "enterprises": "1.3.6.1.4.1",
    "ucdavis": _UCD,
    **_columns(
        f"{_MIB_2}.1", "sysDescr sysObjectID sysUpTime sysContact sysName sysLocation sysServices"
    ),
    "ifNumber": f"{_MIB_2}.2.1",
    **_columns(
        _IF_ENTRY,
        "ifIndex ifDescr ifType ifMtu ifSpeed ifPhysAddress ifAdminStatus ifOperStatus"
        " ifLastChange ifInOctets ifInUcastPkts ifInNUcastPkts ifInDiscards ifInErrors"
        " ifInUnknownProtos ifOutOctets ifOutUcastPkts ifOutNUcastPkts ifOutDiscards ifOutErrors"
        " ifOutQLen",
    ),
    **_columns(
        _IF_X_ENTRY,
        "ifName ifInMulticastPkts ifInBroadcastPkts ifOutMulticastPkts ifOutBroadcastPkts"
        " ifHCInOctets ifHCInUcastPkts ifHCInMulticastPkts ifHCInBroadcastPkts ifHCOutOctets"
        " ifHCOutUcastPkts ifHCOutMulticastPkts ifHCOutBroadcastPkts - ifHighSpeed"
        " ifPromiscuousMode ifConnectorPresent ifAlias ifCounterDiscontinuityTime",
    ),
    **_columns(_ETHER_STATS, "etherStatsDropEvents etherStatsOctets etherStatsPkts", first=3),
    "hrSystemUptime": f"{_HOST}.1.1",
    "hrProcessorLoad": f"{_HOST}.3.3.1.2",
    **_columns(
        f"{_HOST}.2.3.1",
        "hrStorageType hrStorageDescr hrStorageAllocationUnits hrStorageSize hrStorageUsed",
        first=2,
    ),
    **_columns(
        f"{_UPS}.2",
        "upsBatteryStatus upsSecondsOnBattery upsEstimatedMinutesRemaining"
        " upsEstimatedChargeRemaining upsBatteryVoltage upsBatteryCurrent upsBatteryTemperature",
    ),
    **_columns(f"{_UPS}.3.3.1", "upsInputFrequency upsInputVoltage", first=2),
    "upsOutputSource": f"{_UPS}.4.1",
    **_columns(
        f"{_UPS}.4.4.1",
        "upsOutputVoltage upsOutputCurrent upsOutputPower upsOutputPercentLoad",
        first=2,
    ),
    "upsAlarmsPresent": f"{_UPS}.6.1",
    "hrPrinterStatus": f"{_HOST}.3.5.1.1",
    **_columns(f"{_PRINTER}.8.2.1", "prtInputMaxCapacity prtInputCurrentLevel", first=9),
    "prtInputName": f"{_PRINTER}.8.2.1.13",
    "prtInputDescription": f"{_PRINTER}.8.2.1.18",
    "prtMarkerLifeCount": f"{_PRINTER}.10.2.1.4",
    **_columns(
        f"{_PRINTER}.11.1.1",
        "prtMarkerSuppliesDescription prtMarkerSuppliesSupplyUnit prtMarkerSuppliesMaxCapacity"
        " prtMarkerSuppliesLevel",
        first=6,
    ),
    "entPhysicalDescr": f"{_ENTITY}.2",
    "entPhysicalName": f"{_ENTITY}.7",
    **_columns(
        _SENSOR,
        "entPhySensorType entPhySensorScale entPhySensorPrecision entPhySensorValue"
        " entPhySensorOperStatus",
    ),
    "memTotalReal": f"{_UCD}.4.5",
    "memAvailReal": f"{_UCD}.4.6",
    "laLoad": f"{_UCD}.10.1.3",
    "laLoadFloat": f"{_UCD}.10.1.6",
}

#: Objects of the types PhysAddress and MacAddress: IF-MIB, RFC1213-MIB, IP-MIB, BRIDGE-MIB,
#: Q-BRIDGE-MIB, IEEE 802.11 and SNMP-FRAMEWORK-MIB (snmpEngineID, as it is octets as well).
ADDRESS_COLUMNS = (
    f"{_IF_ENTRY}.6",
    f"{_MIB_2}.3.1.1.2",
    f"{_MIB_2}.4.22.1.2",
    f"{_MIB_2}.4.35.1.4",
    f"{_MIB_2}.17.1.1",
    f"{_MIB_2}.17.2.5",
    f"{_MIB_2}.17.2.15.1.6",
    f"{_MIB_2}.17.2.15.1.8",
    f"{_MIB_2}.17.4.3.1.1",
    f"{_MIB_2}.17.7.1.2.2.1.1",
    "1.2.840.10036.1.1.1.1",
    "1.3.6.1.6.3.10.2.1.1",
)

_NAMED = re.compile(r"\.?(?:[A-Za-z][\w-]*::)?([A-Za-z][\w-]*)((?:\.\S+)?)")
_NUMERIC = re.compile(r"[0-2](\.\d+)*")


def normalize_oid(text: str) -> str:
    """Return an OID as dotted numbers without a leading dot, where that takes no MIB file.

    `.1.3.6`, `iso.3.6` and `IF-MIB::ifInOctets.1` become numbers, a placeholder in the index
    stays (`ifInOctets.${if}`). A name outside the table comes back as it is.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    if named is not None:
        prefix = OBJECTS.get(named[1])
        return text if prefix is None else prefix + named[2]
    return text.removeprefix(".")


def is_numeric(oid: str) -> bool:
    """Whether an OID is in the form that requests take."""
    return _NUMERIC.fullmatch(oid) is not None


def is_name(oid: str) -> bool:
    """Whether an OID begins with a name that only a MIB file explains."""
    return _NAMED.fullmatch(oid) is not None


def split_name(oid: str) -> tuple[str, str]:
    """Split `X-MIB::name.1.2` into `X-MIB::name` and `.1.2`."""
    head, dot, index = oid.removeprefix(".").partition(".")
    return head, dot + index


def index_of(oid: str, column: str) -> str:
    """Return the index of a table's cell: what follows the column."""
    return oid[len(column) + 1 :]
