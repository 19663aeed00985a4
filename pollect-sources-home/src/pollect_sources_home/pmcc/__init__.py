"""Source `Pmcc`."""
