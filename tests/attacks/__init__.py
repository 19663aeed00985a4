"""Attacks on a daemon, on loopback and bounded: `make attacks` runs them and prints what they cost.

`tests/writers/test_prometheus_auth.py`, `tests/core/support/test_http_server.py` and
`tests/sources_network/test_http_ingress.py` hold the rules; here the figures are measured.
"""
