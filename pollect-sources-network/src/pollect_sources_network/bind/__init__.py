"""BIND: the counters of a name server."""
