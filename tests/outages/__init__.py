"""What becomes of samples when a target dies for half a minute, in real time and with real peers.

`make outages` runs the daemon for every remote writer, kills what it delivers to, and counts there
what arrived; then the same with `spool: true` and a `kill -9` of the daemon. Nothing here gates a
test run.
"""
