"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes depends on what else runs on the machine: a slow one is no mistake.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
