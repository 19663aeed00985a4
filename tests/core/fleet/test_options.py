"""Mistakes in the section `fleet` are named at their option."""

from pathlib import Path

import pytest

from pollect.config.fleet import FleetOptions, ShardOptions
from pollect.daemon.fleet import build_fleet
from pollect.errors import ConfigError
from pollect.support.options import ClientTls


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        (FleetOptions(), "fleet", "name either a shard or an engine"),
        (FleetOptions(engine="zookeeper://h"), "fleet.engine", "expected etcd://host:port"),
        (FleetOptions(engine="etcd://h", ttl="1s"), "fleet.ttl", "expected 2s or more, got 1s"),
        (FleetOptions(engine="etcd://h", ttl="soon"), "fleet.ttl", "expected a duration such as"),
        (
            FleetOptions(shard=ShardOptions(index="pod", count=2)),
            "fleet.shard.index",
            "expected a number or a text that ends with one, got 'pod'",
        ),
        (
            FleetOptions(shard=ShardOptions(index="pod-2", count=2)),
            "fleet.shard.index",
            "expected a number from 0 to 1, got 2",
        ),
    ],
)
def test_an_option_that_cannot_work_is_refused(
    options: FleetOptions, key: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_fleet(options, tmp_path)
    assert caught.value.key == key
    assert caught.value.problem.startswith(problem)


def test_a_file_of_tls_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    options = FleetOptions(engine="etcd://h", tls=ClientTls(ca="ca.pem"))
    with pytest.raises(ConfigError) as caught:
        build_fleet(options, tmp_path)
    assert caught.value.problem == f"cannot use {tmp_path}/ca.pem: No such file or directory"
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError) as caught:
        build_fleet(options, tmp_path)
    assert caught.value.problem == f"cannot use {tmp_path}/ca.pem: no certificate in PEM"
