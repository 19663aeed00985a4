"""The brands of the group: what each is called where."""

from typing import NamedTuple

from pollect.api import ConfigError

_APPS = "@apps_vw-dilab_com"


class Brand(NamedTuple):
    """One brand: its name, its client at the identity server, its name in the portal."""

    name: str
    client_id: str
    key: str


AUDI = Brand("Audi", f"cc29b87a-5e9a-4362-aecf-5adea6b01bbb{_APPS}", "AUDI")
_SEAT_AND_CUPRA = f"f85e5b69-e3b2-43aa-9c0d-1b7d0e0b576f{_APPS}"
BRANDS = {
    "audi": AUDI,
    "volkswagen": Brand(
        "Volkswagen",
        f"9b58543e-1c15-4193-91d5-8a14145bebb0{_APPS}",
        "VOLKSWAGEN_PASSENGER_CARS",
    ),
    "skoda": Brand("Skoda", f"3ea88bf9-1d4e-4a68-b3ad-4098c1f1d246{_APPS}", "SKODA"),
    "seat": Brand("SEAT", _SEAT_AND_CUPRA, "SEAT"),
    "cupra": Brand("Cupra", _SEAT_AND_CUPRA, "CUPRA"),
}
_ALIASES = {"vw": "volkswagen", "škoda": "skoda"}


def find_brand(name: str) -> Brand:
    """Return a brand by its name in any case; raises `ConfigError`."""
    word = name.strip().lower()
    brand = BRANDS.get(_ALIASES.get(word, word))
    if brand is None:
        known = ", ".join(brand.name for brand in BRANDS.values())
        raise ConfigError(f"expected one of {known}, got {name!r}", key="brand")
    return brand
