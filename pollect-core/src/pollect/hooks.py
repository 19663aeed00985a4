"""The markers of pluggy for pollect's hooks; their texts are in `pollect.hookspecs`."""

import pluggy

hookspec = pluggy.HookspecMarker("pollect")
hookimpl = pluggy.HookimplMarker("pollect")
