"""Source `Viessmann`; see `source`."""
