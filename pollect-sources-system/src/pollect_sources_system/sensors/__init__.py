"""Source `Sensors`: see `source`."""
