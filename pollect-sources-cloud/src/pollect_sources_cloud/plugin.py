"""The sources of this distribution, one a line."""

from pollect.api import Location, Needs, SourceSpec, hookimpl

#: Of the plugin API that this is written for.
api = 2

PACKAGE = "pollect_sources_cloud"

#: The sign-in is kept in the state folder, or where the config says.
_TOKEN = Needs(paths=(Location("", option="tokenFile", write=True, optional=True),))


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec(
            "AppStoreConnect",
            f"{PACKAGE}.app_store_connect.source:AppStoreConnectSource",
            summary="Downloads, purchases and proceeds of apps in Apple's App Store",
            extra="appstoreconnect",
            needs=Needs(
                paths=(Location("", option="keyFile"), Location("db", option="dbDir", write=True)),
            ),
        ),
        SourceSpec(
            "Gdc",
            f"{PACKAGE}.gdc.source:GdcSource",
            summary="Crashes, ANRs, installs and ratings of apps on Google Play",
            extra="gdc",
            needs=Needs(paths=(Location("db", option="dbDir", write=True),)),
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
            needs=_TOKEN,
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
            needs=_TOKEN,
        ),
    ]
