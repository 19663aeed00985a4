"""Which gateway and which of its devices a source reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pollect.api import BadResponse
from pollect_sources_home.cloud import identity_of

#: Types of devices that are the gateway itself, or something without values of its own.
NOT_A_DEVICE = ("vitoconnect", "tcu", "roomControl")
FIRST_DEVICE = "0"


@dataclass(frozen=True)
class Gateway:
    """One gateway of an account."""

    installation: str
    serial: str
    devices: Sequence[Mapping[str, Any]]

    def choose_device(self, wanted: str | None) -> str:
        """Return the configured device, else the first heating, else the first with values."""
        if wanted is not None:
            return wanted
        for device in self.devices:
            if type_of(device) == "heating":
                return device_id(device)
        for device in self.devices:
            if type_of(device) not in NOT_A_DEVICE:
                return device_id(device)
        return FIRST_DEVICE


def type_of(device: Mapping[str, Any]) -> str:
    """Return the type of a device: `deviceType` in the equipment list, `type` in features."""
    return str(device.get("deviceType") or device.get("type") or "")


def device_id(device: Mapping[str, Any]) -> str:
    """Return what the service calls a device."""
    return identity_of(device.get("id"))


def parse_gateways(items: Sequence[Mapping[str, Any]], problems: list[str]) -> list[Gateway]:
    """Return the gateways of an equipment list; those without a serial number go to `problems`."""
    gateways = []
    for item in items:
        serial, installation = (identity_of(item.get(key)) for key in ("serial", "installationId"))
        if not serial or not installation:
            problems.append(f"expected a gateway with serial and installation, got {item!r:.60}")
            continue
        devices = item.get("devices")
        found = devices if isinstance(devices, list) else []
        known = [device for device in found if isinstance(device, Mapping) and device_id(device)]
        if len(known) < len(found):
            strange = len(found) - len(known)
            problems.append(f"gateway {serial}: expected devices with an id, got {strange} others")
        gateways.append(Gateway(installation, serial, known))
    return gateways


def choose_gateway(
    gateways: Sequence[Gateway], installation: str | None, serial: str | None
) -> Gateway:
    """Return the configured gateway, else the first that has devices, else the first.

    Raises `BadResponse` when there is none.
    """
    if not gateways:
        raise BadResponse("Viessmann: this account has no gateway; add it in the ViCare app")
    fitting = [
        gateway
        for gateway in gateways
        if installation in (None, gateway.installation) and serial in (None, gateway.serial)
    ]
    if not fitting:
        known = ", ".join(f"{known.serial} ({known.installation})" for known in gateways)
        raise BadResponse(
            f"Viessmann: no gateway {serial or ''} in installation {installation or 'any'}; "
            f"there are: {known}"
        )
    return next((gateway for gateway in fitting if gateway.devices), fitting[0])
