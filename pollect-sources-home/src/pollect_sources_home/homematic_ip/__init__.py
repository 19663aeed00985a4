"""Source `HomematicIp`; see `source`."""
