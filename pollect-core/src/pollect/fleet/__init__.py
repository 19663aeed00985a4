"""Which daemon of a fleet probes which source: static shards, or leases in etcd.

Nothing here is imported unless a config has `fleet:`.
"""
