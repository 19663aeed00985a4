"""Source `Zfs`: see `source`."""
