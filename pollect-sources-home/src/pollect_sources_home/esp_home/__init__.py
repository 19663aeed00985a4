"""Source `EspHome`."""
