"""Source `HttpIngress`."""
