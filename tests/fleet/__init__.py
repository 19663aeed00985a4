"""Fleets of real daemons on a real etcd, disturbed on purpose, judged by the devices' own logs.

`make fleet` runs them all and prints a table; each scenario is also there for itself.
"""
