"""Settings for all tests, and the authority that most of those with TLS trust."""

import pytest
from hypothesis import HealthCheck, settings

from tests.simulators.certificates import Authority

# How long an example takes depends on what else runs on the machine: a slow one is no mistake.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))
