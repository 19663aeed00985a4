"""Source `Certificate`."""
