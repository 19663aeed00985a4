"""Writers `Prometheus` and `PrometheusSsl`: an HTTP endpoint that Prometheus scrapes."""
