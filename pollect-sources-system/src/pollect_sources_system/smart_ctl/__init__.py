"""Source `SmartCtl`: see `source`."""
