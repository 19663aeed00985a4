"""Writer `PrometheusRemoteWrite`: pushes to Prometheus and what speaks its protocol."""
