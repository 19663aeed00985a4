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
            "GitHub",
            f"{PACKAGE}.github.source:GitHubSource",
            summary="Stars, issues, pull requests, workflow runs and downloads of repositories",
        ),
        SourceSpec(
            "MMI",
            f"{PACKAGE}.vw_group.source:MMISource",
            summary="Mileage, ranges, levels and service of an Audi (experimental)",
        ),
        SourceSpec(
            "S3Objects",
            f"{PACKAGE}.s3_objects.source:S3ObjectsSource",
            summary="Number, size and age of the objects in a store that speaks S3: fresh backups",
        ),
        SourceSpec(
            "VwGroup",
            f"{PACKAGE}.vw_group.source:VwGroupSource",
            summary="The same of cars of every brand of the Volkswagen group (experimental)",
        ),
    ]
