"""openHAB: a server for home automation."""
