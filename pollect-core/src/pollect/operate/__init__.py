"""What surrounds a daemon: units for systemd, compose files, checks of the machine."""
