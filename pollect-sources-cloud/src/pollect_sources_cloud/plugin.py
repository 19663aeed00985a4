"""The sources of this distribution, one a line."""

from pollect.api import SourceSpec, hookimpl

PACKAGE = "pollect_sources_cloud"


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec(
            "AppStoreConnect",
            f"{PACKAGE}.app_store_connect.source:AppStoreConnectSource",
            summary="Downloads, purchases and proceeds of apps in Apple's App Store",
            extra="appstoreconnect",
        ),
        SourceSpec(
            "Gdc",
            f"{PACKAGE}.gdc.source:GdcSource",
            summary="Crashes, ANRs, installs and ratings of apps on Google Play",
            extra="gdc",
        ),
        SourceSpec(
            "MMI",
            f"{PACKAGE}.vw_group.source:MMISource",
            summary="Mileage, ranges, levels and service of an Audi (experimental)",
        ),
        SourceSpec(
            "VwGroup",
            f"{PACKAGE}.vw_group.source:VwGroupSource",
            summary="The same of cars of every brand of the Volkswagen group (experimental)",
        ),
    ]
