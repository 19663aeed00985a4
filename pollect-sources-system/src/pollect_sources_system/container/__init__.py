"""Source `Container`: see `source`."""
