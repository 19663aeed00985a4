"""A store that speaks S3: the server of moto, with boto3 to fill it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.daemons import free_port, run_daemon

REGION = "eu-central-1"


class Store:
    """A running server; who may read what, it asks only after `demand_signatures`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.access_key = "a-key"
        self.secret_key = "hush-secret-of-a-key"

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def make_bucket(self, bucket: str, objects: dict[str, bytes]) -> None:
        client = self.client("s3")
        where = {"LocationConstraint": REGION}
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        for key, body in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=body)

    def demand_signatures(self) -> None:
        """Make a user who may list, take its key, and check every signature from now on."""
        import urllib.request

        iam = self.client("iam")
        iam.create_user(UserName="lister")
        policy = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
            '"Action": "s3:ListBucket", "Resource": "*"}]}'
        )
        iam.put_user_policy(UserName="lister", PolicyName="list", PolicyDocument=policy)
        key = iam.create_access_key(UserName="lister")["AccessKey"]
        self.access_key, self.secret_key = key["AccessKeyId"], key["SecretAccessKey"]
        # As a form the number would not arrive.
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def moto_store(folder: Path) -> Iterator[Store]:
    """Run the server; skips the test where it is not installed."""
    pytest.importorskip("moto")
    pytest.importorskip("flask_cors")
    port = free_port()
    program = str(Path(sys.executable).with_name("moto_server"))
    before = os.environ.get("INITIAL_NO_AUTH_ACTION_COUNT")
    # Without it the server never looks at a signature, whatever `reset-auth` says.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "1000000"
    try:
        with run_daemon([program, "-H", "127.0.0.1", "-p", str(port)], folder, port):
            yield Store(f"http://127.0.0.1:{port}")
    finally:
        if before is None:
            del os.environ["INITIAL_NO_AUTH_ACTION_COUNT"]
        else:
            os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = before
