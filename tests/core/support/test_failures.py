"""Why a connection failed, in the words of the system alone."""

import asyncio
import errno
import os
import socket

import pytest

from pollect.support.connect import describe_failure
from tests.simulators.daemons import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_asyncio_names_addresses_and_we_do_not(host: str) -> None:
    port = free_port()
    with pytest.raises(OSError) as refused:
        asyncio.run(asyncio.wait_for(asyncio.open_connection(host, port), 20))
    assert str(port) in str(refused.value)
    assert describe_failure(refused.value) == os.strerror(errno.ECONNREFUSED)


def test_several_reasons_are_named_once_each() -> None:
    text = (
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 4222, 0, 0), "
        "[Errno 111] Connect call failed ('127.0.0.1', 4222), "
        "[Errno 101] Connect call failed ('192.0.2.1', 4222)"
    )
    assert describe_failure(OSError(text)) == f"{os.strerror(111)}, {os.strerror(101)}"


def test_what_the_system_says_stays_as_it_is() -> None:
    with pytest.raises(ConnectionRefusedError) as refused:
        socket.create_connection(("127.0.0.1", free_port()), 20)
    assert describe_failure(refused.value) == os.strerror(errno.ECONNREFUSED)
    assert describe_failure(TimeoutError()) == "TimeoutError"
